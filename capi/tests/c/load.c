/*
 * A host that loads the library at run time: load LIBRARY MODEL. Three times it opens the library, generates on two
 * threads, frees what it made and closes it. Writes nothing unless a check fails.
 */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "pumice.h"

#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
            exit(1);                                                         \
        }                                                                    \
    } while (0)

/* A function of the library by its name; through a union, since ISO C knows no other way from a pointer to data. */
#define LOAD(result, name, arguments)                          \
    union {                                                    \
        void *data;                                            \
        result(PUMICE_CALL *call) arguments;                   \
    } name;                                                    \
    name.data = dlsym(library, "pumice_" #name);               \
    CHECK(name.data != NULL)

static int32_t PUMICE_CALL count(void *user_data, const char *text, size_t len, const pumice_token *tokens, size_t n)
{
    (void)text;
    (void)len;
    (void)tokens;
    *(size_t *)user_data += n;
    return PUMICE_CONTINUE;
}

int main(int argc, char **argv)
{
    int round;
    CHECK(argc == 3);
    for (round = 0; round < 3; round++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        pumice_options *opts = NULL;
        pumice_model *model = NULL;
        pumice_session *session = NULL;
        pumice_sampler *sampler = NULL;
        const pumice_token prompt[] = {5, 6, 7};
        size_t generated = 0;

        CHECK(library != NULL);
        {
            LOAD(pumice_status, options_new, (pumice_options **, pumice_error *));
            LOAD(pumice_status, options_set_int, (pumice_options *, const char *, int64_t, pumice_error *));
            LOAD(pumice_status, model_open,
                (const char *, const pumice_options *, pumice_model **, pumice_error *));
            LOAD(pumice_status, session_new,
                (const pumice_model *, const pumice_options *, pumice_session **, pumice_error *));
            LOAD(pumice_status, sampler_new,
                (const pumice_model *, const pumice_options *, pumice_sampler **, pumice_error *));
            LOAD(pumice_status, session_generate,
                (pumice_session *, pumice_sampler *, const pumice_token *, size_t, const pumice_options *,
                    pumice_text_fn, void *, int32_t *, pumice_error *));
            LOAD(void, options_free, (pumice_options *));
            LOAD(void, model_free, (pumice_model *));
            LOAD(void, session_free, (pumice_session *));
            LOAD(void, sampler_free, (pumice_sampler *));

            CHECK(options_new.call(&opts, NULL) == PUMICE_OK);
            CHECK(options_set_int.call(opts, PUMICE_KEY_SESSION_THREADS, 2, NULL) == PUMICE_OK);
            CHECK(options_set_int.call(opts, PUMICE_KEY_GENERATE_MAX_TOKENS, 8, NULL) == PUMICE_OK);
            CHECK(model_open.call(argv[2], opts, &model, NULL) == PUMICE_OK);
            CHECK(session_new.call(model, opts, &session, NULL) == PUMICE_OK);
            CHECK(sampler_new.call(model, opts, &sampler, NULL) == PUMICE_OK);
            CHECK(session_generate.call(session, sampler, prompt, 3, opts, count, &generated, NULL, NULL) == PUMICE_OK);
            CHECK(generated > 0);
            model_free.call(model);
            session_free.call(session);
            sampler_free.call(sampler);
            options_free.call(opts);
        }
        CHECK(dlclose(library) == 0);
    }
    return 0;
}
