/*
 * What the test programs share: each is run as PROGRAM MODEL, and writes nothing unless a check fails, so that whatever
 * the library might write to stdout or stderr is seen.
 */

#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pumice.h"

static pumice_error *err;
static const char *path;

#define CHECK(condition)                                                                                \
    do {                                                                                                \
        if (!(condition)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n  (%s: %s)\n", __FILE__, __LINE__, #condition,                  \
                pumice_status_name(pumice_error_status(err)), pumice_error_message(err));               \
            exit(1);                                                                                    \
        }                                                                                               \
    } while (0)

static inline pumice_model *open_model(void)
{
    pumice_model *model = NULL;
    CHECK(pumice_model_open(path, NULL, &model, err) == PUMICE_OK);
    CHECK(model != NULL);
    return model;
}

/* One thread and what `key` says, if it is not NULL. */
static inline pumice_session *new_session(const pumice_model *model, const char *key, int64_t value)
{
    pumice_options *opts = NULL;
    pumice_session *session = NULL;
    CHECK(pumice_options_new(&opts, err) == PUMICE_OK);
    CHECK(pumice_options_set_int(opts, PUMICE_KEY_SESSION_THREADS, 1, err) == PUMICE_OK);
    if (key != NULL)
        CHECK(pumice_options_set_int(opts, key, value, err) == PUMICE_OK);
    CHECK(pumice_session_new(model, opts, &session, err) == PUMICE_OK);
    pumice_options_free(opts);
    return session;
}

static inline int64_t number(pumice_session *session, const char *name)
{
    int64_t value = -1;
    CHECK(pumice_session_get_int(session, name, &value, err) == PUMICE_OK);
    return value;
}

static inline size_t fed(pumice_session *session)
{
    size_t count = 99;
    CHECK(pumice_session_seq_tokens(session, 0, NULL, 0, &count, err) == PUMICE_OK);
    return count;
}

#endif
