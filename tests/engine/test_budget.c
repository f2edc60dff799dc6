/* test_budget.c: when a write need not ask for volume and expired rows. */
#include "engine/budget.h"

#include "store.h"

#include <math.h>

/* ---- Forecast ------------------------------------------------------------------------------- */

/* How many steps of SQLite one write takes. */
static int steps_of_set(const dc_rules *rules, double now)
{
    int steps;

    database_watch_steps(0);
    CHECK_INT(DC_OK, set_by(rules, text("k"), inline_value(integer(1)), now));
    steps = step_count;
    database_unwatch_steps();
    return steps;
}

enum { STEPS_OF_PLAIN_SET = 1 };

/* Make a forecast: a first write finds out what there is to know. */
static void start_forecast(const dc_rules *rules)
{
    CHECK_INT(DC_OK, set_by(rules, text("k"), inline_value(integer(1)), NOW));
    CHECK(db.budget.known);
}

static void a_forecast_spares_the_next_write_the_questions(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK_INT(STEPS_OF_PLAIN_SET, steps_of_set(&roomy, NOW));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void a_forecast_outlives_the_commits_of_its_handle(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(DC_OK, dc_db_begin(&db));
        CHECK_INT(STEPS_OF_PLAIN_SET, steps_of_set(&roomy, NOW));
        CHECK_INT(DC_OK, dc_db_commit(&db));
    }
    close_store();
}

static void another_connections_write_voids_the_forecast(void)
{
    dc_db other;

    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    database_connect(&other);
    database_execute(&other, "INSERT INTO Cache (key, raw, expire_time) VALUES ('x', 1, 5)");
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK(!has(text("x"))); /* it was seen, and culled */
    database_close(&other);
    close_store();
}

static void a_rollback_voids_the_forecast(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    dc_db_rollback(&db);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void a_new_index_voids_the_forecast(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK_INT(DC_OK, dc_db_execute(&db, DC_TAG_INDEX_CREATE));
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void another_limit_of_size_voids_the_forecast(void)
{
    dc_rules other = roomy;

    other.size_limit++;
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK(steps_of_set(&other, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(STEPS_OF_PLAIN_SET, steps_of_set(&other, NOW));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void with_the_connection_in_a_users_hands_nothing_is_forecast(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    db.budget.exposed = 1;
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void the_earliest_expiry_ends_the_forecast(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    set(text("x"), expiring(inline_value(integer(1)), NOW + 10)); /* found by the forecast */
    start_forecast(&roomy);
    CHECK(db.budget.earliest_expiry == NOW + 10);
    set(text("y"), expiring(inline_value(integer(1)), NOW + 5)); /* noted by it */
    CHECK(db.budget.earliest_expiry == NOW + 5);
    CHECK_INT(STEPS_OF_PLAIN_SET, steps_of_set(&roomy, NOW + 5));
    CHECK(has(text("y")));
    CHECK(steps_of_set(&roomy, NOW + 5.5) > STEPS_OF_PLAIN_SET);
    CHECK(!has(text("y")) && has(text("x")));
    CHECK(db.budget.earliest_expiry == NOW + 10);
    CHECK_INT(DC_OK, touch(text("x"), expiring((dc_columns){0}, NOW + 6), NOW));
    CHECK(steps_of_set(&roomy, NOW + 6.5) > STEPS_OF_PLAIN_SET);
    CHECK(!has(text("x")));
    CHECK(db.budget.earliest_expiry == HUGE_VAL);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void a_limit_once_reached_is_not_forecast_away(void)
{
    const dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 1, 1, NULL};

    open_store();
    fill(5);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    for (int i = 0; i < 4; i++) {
        CHECK(steps_of_set(&rules, NOW + 100) > STEPS_OF_PLAIN_SET);
    }
    CHECK_INT(2, row_count()); /* one for each write */
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

/* A generator of its own, so that the same numbers come on every platform. */
static uint32_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (random_state >> 8) % below;
}

#define LARGEST_ITEM 40000
#define RANDOM_LIMIT 1500000

/* A random value: inline or in a file, with or without tag and expiry. */
static dc_columns random_columns(double now)
{
    static char block[LARGEST_ITEM];
    const uint32_t size = draw(8) == 0 ? draw(LARGEST_ITEM) : draw(3000);
    dc_columns columns = draw(3) == 0 ? file_value("f", 1 + size)
                                      : inline_value(bytes(DC_BLOB, block, size));

    if (draw(4) == 0) {
        columns = expiring(columns, now + draw(500));
    }
    if (draw(4) == 0) {
        columns = tagged(columns, bytes(DC_BLOB, block, draw(200)));
    }
    return columns;
}

static dc_status keep_real(void *context, const dc_datum *value, const dc_datum *unused)
{
    (void)unused;
    *(double *)context = value->type == DC_REAL ? value->as.real : HUGE_VAL;
    return DC_OK;
}

/* The forecast may take the room to be less than it is and the expiry to be earlier, never the
 * other way round. */
static int forecast_is_cautious(int64_t volume)
{
    const dc_budget *budget = &db.budget;
    double earliest = 0.0;

    if (!budget->known || budget->version != dc_db_data_version(&db)) {
        return 1;
    }
    CHECK_INT(DC_OK, dc_db_query(&db, "SELECT min(expire_time) FROM Cache", keep_real, &earliest));
    return budget->slack <= RANDOM_LIMIT - volume && budget->earliest_expiry <= earliest;
}

static void write_at_random(dc_policy policy)
{
    const dc_rules rules = {policy, RANDOM_LIMIT, 1000, NULL};
    dc_db other;
    dc_row row;

    random_state = 42 + (uint32_t)policy;
    database_connect(&other);
    dc_row_init(&row);
    for (int i = 0; i < 1500; i++) {
        const double now = NOW + i;
        const dc_columns columns = random_columns(now);
        const int writes = draw(5) == 0 ? 10 : 1;
        int64_t volume;

        if (draw(20) == 0) { /* by someone else, who does not cull */
            database_execute(&other, "INSERT OR IGNORE INTO Cache (key, raw, size, value,"
                                     " store_time, access_time) VALUES (random() % 50, 1, 0,"
                                     " zeroblob(30000), 0, 0)");
        }
        CHECK_INT(DC_OK, dc_db_begin(&db));
        for (int n = 0; n < writes; n++) {
            if (draw(4) == 0) {
                CHECK_INT(DC_OK, queue_push(&db, &integers, draw(2) ? DC_BACK : DC_FRONT, &columns,
                                            now, &rules, &removed, &row, &written));
            } else {
                CHECK_INT(DC_OK, set_by(&rules, integer(draw(1000)), columns, now));
            }
            CHECK(written);
        }
        volume = volume_without_free_pages();
        CHECK(forecast_is_cautious(volume));
        if (policy != DC_POLICY_NONE && !CHECK(volume < RANDOM_LIMIT + LARGEST_ITEM)) {
            printf("# %s: volume %lld at %d\n", dc_policies[policy].name, (long long)volume, i);
            break;
        }
        CHECK_INT(0, database_integer(&db, "SELECT count(*) FROM Cache WHERE expire_time <"
                                           " (SELECT max(store_time) FROM Cache)"));
        if (draw(15) == 0) {
            dc_db_rollback(&db);
        } else {
            CHECK_INT(DC_OK, dc_db_commit(&db));
        }
        dc_namelist_clear(&removed);
    }
    CHECK(row_count() > 100); /* and it was not emptied either */
    CHECK_INT(row_count(), database_integer(&db, "SELECT count(*) FROM Cache"));
    CHECK_INT(setting("size"), database_integer(&db, "SELECT sum(size) FROM Cache"));
    dc_row_clear(&row);
    database_close(&other);
}

static void whatever_is_written_the_volume_keeps_to_the_limit(void)
{
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        check_remove_directory();
        open_store();
        database_execute(&db, DC_TAG_INDEX_CREATE);
        database_execute(&db, "PRAGMA auto_vacuum = full"); /* as caches have it by default */
        database_execute(&db, "VACUUM");
        write_at_random((dc_policy)policy);
        close_store();
    }
}

/* ---- What once went wrong ------------------------------------------------------------------- */

static void the_forecast_draws_what_increments_add(void)
{
    const dc_datum big = integer(INT64_C(1) << 60);
    const dc_key key = raw_key(integer(1));
    dc_datum sum;
    int64_t slack;
    int created;

    open_store();
    set(integer(1), inline_value(integer(0)));
    set(integer(2), inline_value(integer(0)));
    slack = db.budget.slack;
    CHECK_INT(DC_OK, write_increment(&db, &key, &big, NULL, NOW, &roomy, &removed, &sum, &created));
    CHECK(db.budget.slack < slack);
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(a_forecast_spares_the_next_write_the_questions),
        CHECK_TEST(a_forecast_outlives_the_commits_of_its_handle),
        CHECK_TEST(another_connections_write_voids_the_forecast),
        CHECK_TEST(a_rollback_voids_the_forecast),
        CHECK_TEST(another_limit_of_size_voids_the_forecast),
        CHECK_TEST(a_new_index_voids_the_forecast),
        CHECK_TEST(with_the_connection_in_a_users_hands_nothing_is_forecast),
        CHECK_TEST(the_earliest_expiry_ends_the_forecast),
        CHECK_TEST(a_limit_once_reached_is_not_forecast_away),
        CHECK_TEST(whatever_is_written_the_volume_keeps_to_the_limit),
        CHECK_TEST(the_forecast_draws_what_increments_add),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
