/* Mistakes that sanitizers and valgrind must see, or else they see nothing: mistakes MODEL NAME. */

#include <limits.h>
#include <string.h>

#include "../c/check.h"

int main(int argc, char **argv)
{
    static const pumice_token some[3] = {5, 6, 7};
    pumice_model *model;
    pumice_session *session;
    const float *logits = NULL;
    size_t count = 0;

    if (argc != 3)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    model = open_model();
    session = new_session(model, NULL, 0);
    CHECK(pumice_session_decode(session, some, 3, err) == PUMICE_OK);
    CHECK(pumice_session_logits(session, 0, &logits, &count, err) == PUMICE_OK);
    if (strcmp(argv[2], "leak") == 0) {
        session = NULL;
        logits = NULL;
    }
    pumice_session_free(session);
    pumice_model_free(model);
    if (strcmp(argv[2], "use-of-what-was-lent") == 0 && logits[argc] > 1e9f)
        return 3;
    if (strcmp(argv[2], "overrun") == 0) { /* the library is told of more room than there is, by less than valgrind's own */
        size_t len = 0;
        char *text;
        CHECK(pumice_describe(NULL, 0, &len, err) == PUMICE_OK);
        text = (char *)malloc(len - 8);
        CHECK(pumice_describe(text, 1 << 20, &len, err) == PUMICE_OK);
        free(text);
    }
    if (strcmp(argv[2], "overflow") == 0) {
        volatile int most = INT_MAX;
        most += argc;
    }
    if (strcmp(argv[2], "freed-handle") == 0) { /* which the library detects */
        CHECK(pumice_session_decode(session, some, 3, err) == PUMICE_ERR_BAD_HANDLE);
        pumice_session_free(session);
    }
    pumice_error_free(err);
    return 0;
}
