/*
 * Who lives how long: handles freed in every order, twice, and by several threads; a model that many sessions share; a
 * process that just ends.
 */

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { MODEL, SESSION, SAMPLER, BATCH, OPTIONS, ERROR, KINDS };

struct handles {
    pumice_model *model;
    pumice_session *session;
    pumice_sampler *sampler;
    pumice_batch *batch;
    pumice_options *options;
    pumice_error *error;
};

static const pumice_token some[3] = {5, 6, 7};

static struct handles make(void)
{
    struct handles made;
    made.model = open_model();
    made.session = new_session(made.model, NULL, 0);
    CHECK(pumice_sampler_new(made.model, NULL, &made.sampler, err) == PUMICE_OK);
    CHECK(pumice_batch_new(&made.batch, err) == PUMICE_OK);
    CHECK(pumice_options_new(&made.options, err) == PUMICE_OK);
    made.error = pumice_error_new();
    CHECK(made.error != NULL);
    return made;
}

static void free_one(const struct handles *made, int kind)
{
    switch (kind) {
    case MODEL: pumice_model_free(made->model); break;
    case SESSION: pumice_session_free(made->session); break;
    case SAMPLER: pumice_sampler_free(made->sampler); break;
    case BATCH: pumice_batch_free(made->batch); break;
    case OPTIONS: pumice_options_free(made->options); break;
    default: pumice_error_free(made->error);
    }
}

/* What each handle answers when it is used. */
static pumice_status use(const struct handles *made, int kind)
{
    size_t count = 0;
    pumice_token token = 0;
    switch (kind) {
    case MODEL: return pumice_model_meta_count(made->model, &count, err);
    case SESSION: return pumice_session_decode(made->session, some, 3, err);
    case SAMPLER: return pumice_sampler_accept(made->sampler, token, err);
    case BATCH: return pumice_batch_add(made->batch, 0, some, 3, PUMICE_OUTPUTS_LAST, err);
    case OPTIONS: return pumice_options_unset(made->options, PUMICE_KEY_SESSION_N_CTX, err);
    default: return pumice_error_status(made->error);
    }
}

/* Every order; what is not freed yet works, what is freed is known to be, and freeing it again does nothing. */
static void every_order(int order[KINDS], int chosen)
{
    int i, kind;
    if (chosen == KINDS) {
        struct handles made;
#ifdef FEW_ORDERS /* where each takes a second */
        static int number;
        if (number++ % 60 != 0)
            return;
#endif
        made = make();
        for (i = 0; i < KINDS; i++) {
            free_one(&made, order[i]);
            for (kind = 0; kind < KINDS; kind++) {
                int at;
                for (at = 0; order[at] != kind; at++)
                    ;
                CHECK(use(&made, kind) == (at <= i ? PUMICE_ERR_BAD_HANDLE : PUMICE_OK));
                if (at <= i)
                    free_one(&made, kind);
            }
            if (order[i] == SESSION)
                pumice_session_cancel(made.session);
        }
        return;
    }
    for (kind = 0; kind < KINDS; kind++) {
        for (i = 0; i < chosen && order[i] != kind; i++)
            ;
        if (i == chosen) {
            order[chosen] = kind;
            every_order(order, chosen + 1);
        }
    }
}

/* Logits of a text that depends on `number`, from a session of its own. */
static float *logits_of(const pumice_model *model, int number)
{
    pumice_session *session = new_session(model, PUMICE_KEY_SESSION_THREADS, 1 + number % 2);
    pumice_token tokens[40];
    const float *logits = NULL;
    float *copy;
    size_t count = 0;
    int i;
    for (i = 0; i < 40; i++)
        tokens[i] = 10 + (i * 7 + number * 3) % 90;
    CHECK(pumice_session_decode(session, tokens, 40, NULL) == PUMICE_OK);
    for (i = 0; i < 4; i++)
        CHECK(pumice_session_decode(session, tokens + i, 1, NULL) == PUMICE_OK);
    CHECK(pumice_session_logits(session, 0, &logits, &count, NULL) == PUMICE_OK && count > 0);
    copy = (float *)malloc(count * sizeof *copy);
    CHECK(copy != NULL);
    memcpy(copy, logits, count * sizeof *copy);
    pumice_session_free(session);
    return copy;
}

#define CROWD 6

struct member {
    pumice_model *model;
    int number;
};

static void *in_the_crowd(void *argument)
{
    struct member *member = (struct member *)argument;
    float *logits = logits_of(member->model, member->number);
    pumice_model_free(member->model); /* each has its own reference; the last one out frees the model */
    return logits;
}

/* Many sessions of one model at once give what each gives alone, to the last bit. */
static void crowd(void)
{
    pumice_model *model = open_model();
    pumice_error *own = err;
    struct member members[CROWD];
    float *alone[CROWD];
    pthread_t threads[CROWD];
    int64_t n_vocab = 0;
    int i;

    CHECK(pumice_model_get_int(model, "n_vocab", &n_vocab, err) == PUMICE_OK);
    for (i = 0; i < CROWD; i++)
        alone[i] = logits_of(model, i);
    CHECK(memcmp(alone[0], alone[1], (size_t)n_vocab * sizeof(float)) != 0);
    err = NULL; /* an error is for one thread */
    for (i = 0; i < CROWD; i++) {
        members[i].model = pumice_model_ref(model);
        members[i].number = i;
        CHECK(members[i].model == model);
        CHECK(pthread_create(&threads[i], NULL, in_the_crowd, &members[i]) == 0);
    }
    pumice_model_free(model);
    for (i = 0; i < CROWD; i++) {
        void *logits = NULL;
        CHECK(pthread_join(threads[i], &logits) == 0);
        CHECK(memcmp(alone[i], logits, (size_t)n_vocab * sizeof(float)) == 0);
        free(logits);
        free(alone[i]);
    }
    err = own;
}

static void *from_opening_to_generating(void *argument)
{
    pumice_model *model = open_model();
    pumice_session *session = new_session(model, PUMICE_KEY_SESSION_THREADS, 2);
    pumice_sampler *sampler = NULL;
    pumice_token prompt[16];
    size_t count = 0;
    CHECK(pumice_sampler_new(model, NULL, &sampler, NULL) == PUMICE_OK);
    CHECK(pumice_model_tokenize(model, "It was", 6, 0, prompt, 16, &count, NULL) == PUMICE_OK);
    CHECK(pumice_session_generate(session, sampler, prompt, count, NULL, NULL, NULL, NULL, NULL) == PUMICE_OK);
    pumice_session_free(session);
    pumice_sampler_free(sampler);
    pumice_model_free(model);
    return argument;
}

/* Languages that make threads by the thousand give each little stack. */
static void small_stack(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pumice_error *own = err;
    err = NULL;
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, 1 << 16) == 0);
    CHECK(pthread_create(&thread, &attributes, from_opening_to_generating, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
    err = own;
}

static void *decode_for_ever(void *argument)
{
    static const pumice_token tokens[64] = {1};
    for (;;) { /* whatever they return: the other thread makes some of them BUSY */
        pumice_session_decode((pumice_session *)argument, tokens, 64, NULL);
        pumice_session_seq_truncate((pumice_session *)argument, 0, 0, NULL);
    }
    return NULL;
}

/* A process that ends, by exit or by returning from main, while sessions compute and nothing is freed. */
static void exit_without_free(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        size_t count = 0;
        pumice_session *session = new_session(open_model(), PUMICE_KEY_SESSION_THREADS, 2);
        alarm(60); /* should it hang */
        CHECK(pthread_create(&thread, NULL, decode_for_ever, session) == 0);
        while (pumice_session_output_count(session, &count, NULL) != PUMICE_ERR_BUSY)
            usleep(100); /* or, where threads run one at a time, the other finds it busy for ever */
#ifdef NO_LEAKS
        _exit(3); /* nobody looks for leaks then */
#else
        exit(3);
#endif
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

int main(int argc, char **argv)
{
    int order[KINDS];
    if (argc != 2)
        return 2;
    path = argv[1];
    err = pumice_error_new();
    every_order(order, 0);
    crowd();
    small_stack();
    exit_without_free();
    pumice_error_free(err);
    return 0;
}
