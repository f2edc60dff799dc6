/* survey.h: what a check has to look at more closely, found by one pass over the rows.
 */
#ifndef DC_ENGINE_SURVEY_H
#define DC_ENGINE_SURVEY_H

#include "engine/db.h"

/* What is among some rows, besides plain ones: a key and a value as they are, nothing in a file, and every column of
 * the type that it is to have. */
enum {
    DC_SURVEY_ODD = 1,          /* what may be wrong */
    DC_SURVEY_PICKLED_KEYS = 2, /* what ends as a pickle does, likewise below */
    DC_SURVEY_PICKLES = 4,
    DC_SURVEY_FILES = 8 /* which the row names by a text */
};

/* So many more rows are looked at where all of them are plain. */
enum { DC_SURVEY_PLAIN = 32 };

typedef struct dc_survey {
    int64_t limit;
    int64_t rows;  /* how many there were, up to the limit */
    int64_t bytes; /* the sum of their sizes, unless any of them is odd */
    int64_t last;  /* rowid of the last one */
    int is_last;   /* there are no rows behind it */
    int counted; /* these are all the rows, none of them odd, and the counters in Settings are right */
    int kinds;
} dc_survey;

/* Look at up to `limit` rows from the rowid `low` on, or at DC_SURVEY_PLAIN times as many. */
dc_status dc_survey_rows(dc_db *db, int64_t low, int64_t limit, dc_survey *survey);

/* Make DC_FUNCTION_SURVEY known to SQLite, unless it is. */
void dc_survey_define(dc_db *db);

#endif
