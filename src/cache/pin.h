/* pin.h: the Connection that `_con` gives a thread, and what is done when the thread ends.
 */
#ifndef DC_CACHE_PIN_H
#define DC_CACHE_PIN_H

#include "cache/object.h"

extern PyType_Spec pin_type_spec;

/* A user gets hold of the session's Connection: nothing that we know of the database holds any more. */
void cache_expose(Cache *self, Session *session);

/* The Connection of this thread's session, pinned to it: `_con`. New reference. */
PyObject *cache_connection(Cache *self);

/* Roll the open transaction back if this thread ends before; -1 with an exception. */
int cache_watch_thread(Cache *self);

#endif
