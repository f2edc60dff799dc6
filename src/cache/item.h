/* item.h: an item that is to be written, and the rules for writing it: what operations that
 * write one item and those that write many share.
 */
#ifndef DC_CACHE_ITEM_H
#define DC_CACHE_ITEM_H

#include "cache/object.h"

/* One item to be written. */
typedef struct item {
    disk_value stored; /* its columns complete with tag and expire_time */
    PyObject *tag_owner;
    PyObject *unsealed; /* strong: the value without its signature, where it is signed; else NULL */
    unsigned long mendings; /* of the cache, when it was signed */
    double now;
} item;

/* Convert the value, writing its file, which is the caller's until a row names it. Expire and tag
 * are looked at first: there is nothing to clean up if they are bad. `key` and `encoded` may be
 * NULL: the key is not known yet. -1 with an exception. */
int item_prepare(Cache *self, item *item, PyObject *value, PyObject *key, const disk_key *encoded,
                 PyObject *expire, int read, PyObject *tag);
/* With the write lock: sign the item anew if the directory has been made anew meanwhile, with another id perhaps. -1
 * with an exception. */
int item_seal_anew(Cache *self, item *item, const disk_key *encoded);
void item_clear(item *item);

/* The rules of a write now; `hooks` backs rules.hooks. */
dc_rules current_rules(Cache *self, dc_row_hooks *hooks);
/* Have an item whose key comes about when it is inserted signed then. */
void seal_when_inserted(Cache *self, dc_rules *rules, dc_row_hooks *hooks);

#endif
