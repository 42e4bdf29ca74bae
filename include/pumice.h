/*
 * pumice: runs language models from GGUF files on CPU threads.
 *
 * Rules that hold for all functions:
 *
 * Errors. Functions that can fail return a pumice_status and take a pumice_error last, which may be NULL. A call
 * that fails stores NULL in its handle outputs and leaves other outputs alone, except for the size that a buffer
 * would need. Besides the statuses that each function names, every one may return PUMICE_ERR_NULL,
 * PUMICE_ERR_BAD_HANDLE, PUMICE_ERR_BUSY, PUMICE_ERR_POISONED, PUMICE_ERR_INVALID and PUMICE_ERR_INTERNAL.
 * Nothing is ever written to stdout or stderr, and no error ends the process.
 *
 * Ownership. A function that stores a handle gives it to the caller, who frees it with the one function for its
 * type; handles may be freed in any order, or never. Pointers that are lent say how long they are valid. What the
 * caller passes in is used during the call only (but for pumice_model_open_memory and pumice_options_set_log).
 *
 * Threads. A model may be used by any number of threads at once. Every other handle is for one thread at a time
 * and may move between threads; a function that takes it as const only reads it, and several may at once. Use of
 * a session by two threads at once is refused with PUMICE_ERR_BUSY.
 *
 * Text is UTF-8, paths too. Names and paths end with NUL; other text has a length and may contain NUL.
 *
 * Callbacks run on the thread that made the call. They must not throw exceptions or jump out.
 */

#ifndef PUMICE_H
#define PUMICE_H

#include <stddef.h>
#include <stdint.h>

/* Define PUMICE_STATIC when linking the static library on Windows. */
#if defined(_WIN32)
#define PUMICE_CALL __cdecl
#if defined(PUMICE_STATIC)
#define PUMICE_API
#else
#define PUMICE_API __declspec(dllimport)
#endif
#else
#define PUMICE_CALL
#define PUMICE_API
#endif

/** The version of this header, comparable with pumice_version_number(): 0xMMmmpp00. */
#define PUMICE_VERSION_NUMBER 0x00010000
#define PUMICE_VERSION_STRING "0.1.0"

/**
 * 1 maps the file: nothing is read before it is used, and processes share the memory; but if the file is
 * truncated meanwhile, the process ends with SIGBUS. 0 reads it into memory. (int, default 1)
 */
#define PUMICE_KEY_MODEL_MMAP "model.mmap"

/**
 * 1 reads the header only. Metadata, vocabulary, pumice_model_get_int and pumice_model_memory work, a
 * session cannot be made. (int, default 0)
 */
#define PUMICE_KEY_MODEL_METADATA_ONLY "model.metadata_only"

/**
 * 1 brings the whole mapped file into memory before the model is opened, instead of when it is used. (int,
 * default 0)
 */
#define PUMICE_KEY_MODEL_PRELOAD "model.preload"

/**
 * The path of a file with a classification head for pumice_session_classify, in place of the model's own if
 * it has one; empty for none. PUMICE_ERR_MISMATCH if it was made for models of another architecture or
 * width. (string, default "")
 */
#define PUMICE_KEY_MODEL_HEAD "model.head"

/**
 * Positions that a sequence may have; 0 for as many as the model was trained on. Memory is taken as it is
 * needed. (int, default 0)
 */
#define PUMICE_KEY_SESSION_N_CTX "session.n_ctx"

/**
 * Threads, the caller's included; 0, or more than that, for as many as the system lets this process use.
 * Results do not depend on it. (int, default 0)
 */
#define PUMICE_KEY_SESSION_THREADS "session.threads"

/**
 * Tokens of a prompt that go through the model together; 0 to choose by the model's size. Results do not
 * depend on it. (int, default 0)
 */
#define PUMICE_KEY_SESSION_CHUNK "session.chunk"

/**
 * The instruction set to compute with, by the names that pumice_describe lists; "auto" for the fastest.
 * Results do not depend on it. (string, default "auto")
 */
#define PUMICE_KEY_SESSION_KERNELS "session.kernels"

/**
 * What keys and values are kept as: "f16"; "f32" for the last bit of a model with float weights, in twice
 * the memory; or "q8_0", integers of eight bits, in about half of it. (string, default "f16")
 */
#define PUMICE_KEY_SESSION_KV_TYPE "session.kv_type"

/**
 * How activations are rounded that meet quantized weights or BF16: "mixed", to sixteen bits where most is
 * lost otherwise (keys, values, logits) and to eight elsewhere; or "int8", to eight bits everywhere, which
 * reads prompts up to a tenth faster. (string, default "mixed")
 */
#define PUMICE_KEY_SESSION_ACTIVATIONS "session.activations"

/**
 * Bytes that the keys and values, a step's buffers and the outputs of the session may take together; 0 for
 * no limit. A call that would exceed it returns PUMICE_ERR_NO_MEMORY before it changes anything: sequences
 * and outputs are as they were. (int, default 0)
 */
#define PUMICE_KEY_SESSION_MEMORY_LIMIT "session.memory_limit"

/**
 * 1 keeps the final hidden state of each output too, for pumice_session_embedding. (int, default 0)
 */
#define PUMICE_KEY_SESSION_EMBEDDINGS "session.embeddings"

/**
 * What pumice_session_embed makes of the hidden states of a text's tokens: their "mean", the "last", the
 * first ("cls"), or "none": all of them; "auto" for what the model's file says, and the mean if it says
 * nothing. (string, default "auto")
 */
#define PUMICE_KEY_SESSION_POOLING "session.pooling"

/**
 * 1 divides what pumice_session_embed gives by its length (the root of the sum of squares), vector by
 * vector. (int, default 1)
 */
#define PUMICE_KEY_SESSION_NORMALIZE "session.normalize"

/**
 * Divides the logits before the draw, at least 0. 0 is greedy: always the most likely token. (float,
 * default 0.8)
 */
#define PUMICE_KEY_SAMPLER_TEMPERATURE "sampler.temperature"

/**
 * Only this many most likely tokens stay; 0 is off. (int, default 40)
 */
#define PUMICE_KEY_SAMPLER_TOP_K "sampler.top_k"

/**
 * Only the fewest most likely tokens whose probabilities add up to this stay, 0 to 1; 1 is off. (float,
 * default 0.95)
 */
#define PUMICE_KEY_SAMPLER_TOP_P "sampler.top_p"

/**
 * Only tokens at least this many times as likely as the most likely one stay, 0 to 1; 0 is off. (float,
 * default 0.05)
 */
#define PUMICE_KEY_SAMPLER_MIN_P "sampler.min_p"

/**
 * Divides the positive logits of recent tokens and multiplies the others, above 0; 1 is off. (float,
 * default 1)
 */
#define PUMICE_KEY_SAMPLER_REPEAT_PENALTY "sampler.repeat_penalty"

/**
 * Is subtracted from a token's logit once for each time it is among the recent ones; 0 is off. (float,
 * default 0)
 */
#define PUMICE_KEY_SAMPLER_FREQUENCY_PENALTY "sampler.frequency_penalty"

/**
 * Is subtracted once from the logit of each recent token; 0 is off. (float, default 0)
 */
#define PUMICE_KEY_SAMPLER_PRESENCE_PENALTY "sampler.presence_penalty"

/**
 * How many of the last accepted tokens count as recent; 0 turns the penalties off. (int, default 64)
 */
#define PUMICE_KEY_SAMPLER_PENALTY_LAST_N "sampler.penalty_last_n"

/**
 * Where the random numbers start, any value: the same seed gives the same tokens, on every computer. (int,
 * default 0)
 */
#define PUMICE_KEY_SAMPLER_SEED "sampler.seed"

/**
 * Tokens to generate at most; 0 for as many as the context has room for. (int, default 0)
 */
#define PUMICE_KEY_GENERATE_MAX_TOKENS "generate.max_tokens"

/**
 * A text that ends the generation where it appears; it is not shown. Setting it again adds another one.
 * (string, default "")
 */
#define PUMICE_KEY_GENERATE_STOP "generate.stop"

/**
 * 1 shows control tokens as the text they are named by. (int, default 0)
 */
#define PUMICE_KEY_GENERATE_SPECIAL "generate.special"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Success.
 */
#define PUMICE_OK 0

/**
 * A defect of the library, caught before it could do harm. The handles that the call was to change are poisoned.
 */
#define PUMICE_ERR_INTERNAL -1

/**
 * A pointer that must not be NULL is.
 */
#define PUMICE_ERR_NULL -2

/**
 * An argument or an option is outside its range.
 */
#define PUMICE_ERR_INVALID -3

/**
 * A handle is of another type, was freed, or is none.
 */
#define PUMICE_ERR_BAD_HANDLE -4

/**
 * Another call, on another thread or around this callback, is using a handle.
 */
#define PUMICE_ERR_BUSY -5

/**
 * An internal error left the handle unusable, or it is a session from before a fork. It can only be freed.
 */
#define PUMICE_ERR_POISONED -6

/**
 * Memory could not be had.
 */
#define PUMICE_ERR_NO_MEMORY -7

/**
 * The operating system refused to open, map, read or write a file.
 */
#define PUMICE_ERR_IO -8

/**
 * A file is broken or incomplete.
 */
#define PUMICE_ERR_FORMAT -9

/**
 * A file is sound, but this version or this computer cannot use it.
 */
#define PUMICE_ERR_UNSUPPORTED -10

/**
 * Two things that do not belong together, such as the session of one model and the sampler or the saved state of another.
 */
#define PUMICE_ERR_MISMATCH -11

/**
 * The caller's buffer is too small; the size it needs has been stored, and the buffer is untouched.
 */
#define PUMICE_ERR_BUFFER_TOO_SMALL -12

/**
 * The sequence would outgrow the session's context.
 */
#define PUMICE_ERR_CONTEXT_FULL -13

/**
 * A callback or pumice_session_cancel stopped the call.
 */
#define PUMICE_ERR_CANCELLED -14

/**
 * There is no option of this name.
 */
#define PUMICE_ERR_UNKNOWN_KEY -15

/**
 * An option, or a metadata value, is of another type.
 */
#define PUMICE_ERR_WRONG_TYPE -16

/**
 * Text is not UTF-8.
 */
#define PUMICE_ERR_UTF8 -17

/**
 * A chat template or JSON cannot be parsed.
 */
#define PUMICE_ERR_SYNTAX -18

/**
 * What was asked for by name or key does not exist.
 */
#define PUMICE_ERR_NOT_FOUND -19

/**
 * What callbacks return to go on.
 */
#define PUMICE_CONTINUE 1

/**
 * In place of a sequence, for pumice_session_state_*: all sequences.
 */
#define PUMICE_SEQ_ALL -1

/**
 * pumice_options_set_log: no messages.
 */
#define PUMICE_LOG_OFF 0

/**
 * Something failed that cannot be told in another way.
 */
#define PUMICE_LOG_ERROR 1

/**
 * Something is odd and may not be what was meant.
 */
#define PUMICE_LOG_WARN 2

/**
 * What was opened and made, with its numbers.
 */
#define PUMICE_LOG_INFO 3

/**
 * Each step.
 */
#define PUMICE_LOG_DEBUG 4

/**
 * Flag of pumice_model_tokenize: add the tokens that begin and end a text, as far as the model wants them.
 */
#define PUMICE_TOKENIZE_ADD_SPECIAL 1

/**
 * Flag of pumice_model_tokenize: read control tokens that are spelled out in the text. Leave it off for text from
 * people who should not be able to forge them.
 */
#define PUMICE_TOKENIZE_PARSE_SPECIAL 2

/**
 * Flag of pumice_model_detokenize: show control tokens as the text they are named by.
 */
#define PUMICE_DETOKENIZE_SPECIAL 1

/**
 * Flag of pumice_model_chat_format: end the text where the assistant's answer begins.
 */
#define PUMICE_CHAT_GENERATION_PROMPT 1

/**
 * The token is text. (These flags come from pumice_model_token_flags; exactly one of the first six is set.)
 */
#define PUMICE_TOKEN_NORMAL 1

/**
 * The token stands for text that the vocabulary cannot say.
 */
#define PUMICE_TOKEN_UNKNOWN 2

/**
 * The token is a mark that is not text.
 */
#define PUMICE_TOKEN_CONTROL 4

/**
 * The token is text that is always this one token.
 */
#define PUMICE_TOKEN_USER_DEFINED 8

/**
 * The token is a free place.
 */
#define PUMICE_TOKEN_UNUSED 16

/**
 * The token is one byte.
 */
#define PUMICE_TOKEN_BYTE 32

/**
 * The token ends a generation.
 */
#define PUMICE_TOKEN_END 64

/**
 * pumice_batch_add: no outputs; the run only extends its sequence.
 */
#define PUMICE_OUTPUTS_NONE 0

/**
 * pumice_batch_add: an output for the last token.
 */
#define PUMICE_OUTPUTS_LAST 1

/**
 * pumice_batch_add: an output for every token.
 */
#define PUMICE_OUTPUTS_ALL 2

/**
 * The generation ended because the model ended its text.
 */
#define PUMICE_FINISH_END 0

/**
 * The generation ended because of generate.max_tokens, or because the context is full.
 */
#define PUMICE_FINISH_LENGTH 1

/**
 * The generation ended because a text of generate.stop appeared.
 */
#define PUMICE_FINISH_STOP 2

/**
 * The metadata value is an unsigned integer of 8 bits. (These are GGUF's own numbers.)
 */
#define PUMICE_META_U8 0

/**
 * The metadata value is a signed integer of 8 bits.
 */
#define PUMICE_META_I8 1

/**
 * The metadata value is an unsigned integer of 16 bits.
 */
#define PUMICE_META_U16 2

/**
 * The metadata value is a signed integer of 16 bits.
 */
#define PUMICE_META_I16 3

/**
 * The metadata value is an unsigned integer of 32 bits.
 */
#define PUMICE_META_U32 4

/**
 * The metadata value is a signed integer of 32 bits.
 */
#define PUMICE_META_I32 5

/**
 * The metadata value is a float of 32 bits.
 */
#define PUMICE_META_F32 6

/**
 * The metadata value is a truth value.
 */
#define PUMICE_META_BOOL 7

/**
 * The metadata value is a string.
 */
#define PUMICE_META_STRING 8

/**
 * The elements of the metadata value are themselves arrays, which cannot be read through this interface.
 */
#define PUMICE_META_NESTED 9

/**
 * The metadata value is an unsigned integer of 64 bits.
 */
#define PUMICE_META_U64 10

/**
 * The metadata value is a signed integer of 64 bits.
 */
#define PUMICE_META_I64 11

/**
 * The metadata value is a float of 64 bits.
 */
#define PUMICE_META_F64 12

/**
 * Is added to the type of the elements if the metadata value is an array.
 */
#define PUMICE_META_ARRAY 256

/**
 * Runs of tokens of several sequences, to be decoded together. One thread at a time.
 */
typedef struct pumice_batch pumice_batch;

/**
 * The text behind a status. One thread at a time.
 */
typedef struct pumice_error pumice_error;

/**
 * A model: weights and vocabulary. Immutable: any number of threads may use it at once.
 */
typedef struct pumice_model pumice_model;

/**
 * Settings for all other calls. One thread at a time; several may read it at once.
 */
typedef struct pumice_options pumice_options;

/**
 * Chooses tokens from logits. One thread at a time.
 */
typedef struct pumice_sampler pumice_sampler;

/**
 * Sequences being fed to a model, and the threads that do it. One thread at a time.
 */
typedef struct pumice_session pumice_session;

/**
 * What fallible functions return: PUMICE_OK or one of PUMICE_ERR_*. Failures are negative, no status is positive.
 * Later versions may add codes; treat an unknown negative value as a failure.
 */
typedef int32_t pumice_status;

/**
 * Progress of a call that takes long: `done` of `total`. Called on the thread that made the call. Return
 * PUMICE_CONTINUE to go on; with any other value the call stops and returns PUMICE_ERR_CANCELLED.
 */
typedef int32_t (PUMICE_CALL *pumice_progress_fn)(void *user_data, uint64_t done, uint64_t total);

/**
 * A message: one line, `len` bytes of UTF-8, not NUL-terminated, valid during the call only. `level` is one of
 * PUMICE_LOG_*. Called on the thread that made a call, while that call uses its handles.
 */
typedef void (PUMICE_CALL *pumice_log_fn)(void *user_data, int32_t level, const char *message, size_t len);

/**
 * The library is done with what it was lent: memory, or the user data of a log. May be called on any thread that uses or frees handles.
 */
typedef void (PUMICE_CALL *pumice_drop_fn)(void *user_data);

/**
 * Reads `len` bytes (1 or more) of a file from `offset` on into `dst`. Called on the thread that made the call. Return
 * PUMICE_CONTINUE once all are there; with any other value the call stops and returns PUMICE_ERR_CANCELLED.
 */
typedef int32_t (PUMICE_CALL *pumice_read_fn)(void *user_data, uint64_t offset, void *dst, size_t len);

/**
 * The number of a token, from 0 to "n_vocab" - 1 (see pumice_model_get_int).
 */
typedef int32_t pumice_token;

/**
 * The number of a sequence in a session, from 0; chosen by the caller.
 */
typedef int32_t pumice_seq;

/**
 * New text: `len` bytes of UTF-8, whole characters, not NUL-terminated; and the `count` tokens that were generated
 * since the previous call. Either may be empty (then do not read through the pointer): text that a stop text might
 * begin is held back, and tokens that end the text have none. Both are valid during the call only. Called on the
 * thread that made the call. Return PUMICE_CONTINUE to go on; with any other value the generation stops and returns
 * PUMICE_ERR_CANCELLED.
 */
typedef int32_t (PUMICE_CALL *pumice_text_fn)(void *user_data, const char *text, size_t len,
    const pumice_token *tokens, size_t count);

/**
 * The version of the library that is running, comparable with the header's PUMICE_VERSION_NUMBER: 0xMMmmpp00.
 */
PUMICE_API uint32_t PUMICE_CALL pumice_version_number(void);

/**
 * The version of the library that is running: "0.1.0". Static text.
 */
PUMICE_API const char *PUMICE_CALL pumice_version_string(void);

/**
 * The name of a status: "PUMICE_ERR_IO"; for a value that is none, "PUMICE_ERR_UNKNOWN". Static text, never NULL.
 */
PUMICE_API const char *PUMICE_CALL pumice_status_name(pumice_status status);

/**
 * Whether this library, on this computer, has a feature: 1 or 0. Features are named like "arch:llama", "quant:q4_k",
 * "cpu:avx2" and "key:session.n_ctx"; "chat" stands for chat templates. 0 for NULL and for names that it does not know.
 */
PUMICE_API int32_t PUMICE_CALL pumice_has_feature(const char *name);

/**
 * Describes the library as JSON: version, what it can run, and every option with its type, default and meaning. For
 * bug reports and for bindings; fields may be added in any version. Stores the size in bytes in `len`, and the text in
 * `buf` if it has room for it (`cap` bytes); NULL and 0 just ask for the size. PUMICE_ERR_BUFFER_TOO_SMALL.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_describe(char *buf, size_t cap, size_t *len, pumice_error *err);

/**
 * Makes an error for the last parameter of other functions: each call that is given one resets it, and a call that
 * fails leaves its status and a message there. Make one for each thread, or each binding, and use it again and again.
 * All functions also take NULL, for no details. Returns NULL if there is no memory. The caller frees it with
 * pumice_error_free.
 */
PUMICE_API pumice_error *PUMICE_CALL pumice_error_new(void);

/**
 * The status of the last call that was given this error. PUMICE_ERR_NULL or PUMICE_ERR_BAD_HANDLE if it is none.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_error_status(const pumice_error *err);

/**
 * What went wrong in the last call that was given this error: one line of English in UTF-8, NUL-terminated, for
 * people; the text may change between versions. Empty after a success. Never NULL. Borrowed from the error: valid
 * until the error is used again or freed.
 */
PUMICE_API const char *PUMICE_CALL pumice_error_message(const pumice_error *err);

/**
 * Frees an error. NULL is allowed.
 */
PUMICE_API void PUMICE_CALL pumice_error_free(pumice_error *err);

/**
 * Makes a set of options, all with their defaults. One set can hold the options of every kind of call; each call
 * reads its own. Calls copy what they need: a set may be changed or freed right after. Wherever a function takes
 * options, NULL stands for the defaults. The caller frees it with pumice_options_free.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_options_new(pumice_options **out, pumice_error *err);

/**
 * Sets an option whose value is an integer or a truth value (0 or 1). `key` is one of PUMICE_KEY_*, whose comments
 * say the types. PUMICE_ERR_UNKNOWN_KEY, PUMICE_ERR_WRONG_TYPE, or PUMICE_ERR_INVALID if the value is out of range;
 * the options are then as they were.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_options_set_int(pumice_options *opts, const char *key,
    int64_t value, pumice_error *err);

/**
 * Sets an option whose value is a float. As pumice_options_set_int otherwise.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_options_set_float(pumice_options *opts, const char *key,
    double value, pumice_error *err);

/**
 * Sets an option whose value is a string: `len` bytes of UTF-8, copied. A list, such as generate.stop, gets one
 * element more. As pumice_options_set_int otherwise; PUMICE_ERR_UTF8 if the value is not UTF-8.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_options_set_string(pumice_options *opts, const char *key,
    const char *value, size_t len, pumice_error *err);

/**
 * Gives an option its default again; a list becomes empty. PUMICE_ERR_UNKNOWN_KEY.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_options_unset(pumice_options *opts, const char *key,
    pumice_error *err);

/**
 * Sets what calls that take long tell their progress to; NULL for nothing. It is used only while a call runs that was
 * given these options: pumice_model_open and its like tell how many bytes have been read or preloaded,
 * pumice_session_generate how many tokens of the prompt are done, after each layer (rounded down).
 */
PUMICE_API pumice_status PUMICE_CALL pumice_options_set_progress(pumice_options *opts, pumice_progress_fn fn,
    void *user_data, pumice_error *err);

/**
 * Sets where messages go: those of `level`, one of PUMICE_LOG_*, and of lower ones. NULL for nowhere, which is the
 * default. Models and sessions that are made with these options keep it for as long as they live; sessions may be used by
 * several threads, and then `fn` is called on each of them. `drop` (NULL: none) is called with `user_data` exactly once:
 * when no options, model or session has it any more, on the thread that frees the last or sets another log; if this call
 * fails, or sets no log, before it returns. PUMICE_ERR_INVALID for other levels.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_options_set_log(pumice_options *opts, int32_t level,
    pumice_log_fn fn, void *user_data, pumice_drop_fn drop, pumice_error *err);

/**
 * Frees options. NULL is allowed.
 */
PUMICE_API void PUMICE_CALL pumice_options_free(pumice_options *opts);

/**
 * Opens a model: a GGUF file, or the first part of a split one. `path` is UTF-8 on all systems. Reads PUMICE_KEY_MODEL_*
 * and the callbacks of `opts` (NULL: the defaults): progress is told in bytes, while the file is read or preloaded. The
 * caller frees the model with pumice_model_free. PUMICE_ERR_CANCELLED if progress stops, PUMICE_ERR_IO if the file cannot be
 * opened or read, PUMICE_ERR_FORMAT if it is not a sound model, PUMICE_ERR_UNSUPPORTED if it is of a kind that this
 * version cannot run.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_open(const char *path, const pumice_options *opts,
    pumice_model **out, pumice_error *err);

/**
 * Opens a model whose `size` bytes are in memory. They are not copied: they must stay readable and unchanged until
 * `drop` is called with `user_data`. That happens exactly once, also if this call fails: then before it returns, else
 * when the model and everything that uses it have been freed, on the thread that frees the last. `drop` may be NULL,
 * for memory that stays. As pumice_model_open otherwise.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_open_memory(const void *data, size_t size,
    pumice_drop_fn drop, void *user_data, const pumice_options *opts, pumice_model **out, pumice_error *err);

/**
 * Opens a model of `size` bytes that `read` gets from anywhere, such as an archive. Each byte is asked for once, the
 * header first; with PUMICE_KEY_MODEL_METADATA_ONLY only the header, rounded up to 4 KiB. The header is checked before
 * memory is taken for the rest, which is read into memory of the library's own. `read` is used during the call only.
 * PUMICE_ERR_CANCELLED if it stops, PUMICE_ERR_FORMAT if what it reads is not a sound model, PUMICE_ERR_NO_MEMORY. As
 * pumice_model_open otherwise; models that are split into several files cannot be opened in this way.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_open_reader(pumice_read_fn read, void *user_data,
    uint64_t size, const pumice_options *opts, pumice_model **out, pumice_error *err);

/**
 * Makes another handle of the same model (the pointer is the same), which is freed on its own: the model lives until
 * pumice_model_free was called once for each. Returns NULL if `model` is not a model.
 */
PUMICE_API pumice_model *PUMICE_CALL pumice_model_ref(pumice_model *model);

/**
 * Frees a handle of a model. Sessions and samplers keep the model alive by themselves: handles may be freed in any
 * order. NULL is allowed.
 */
PUMICE_API void PUMICE_CALL pumice_model_free(pumice_model *model);

/**
 * A number that describes the model: "n_ctx_train" (positions it was trained on), "n_embd", "n_layer", "n_head",
 * "n_head_kv", "head_dim", "n_ff", "n_vocab", "n_labels" (classes of its classification head, 0 without one),
 * "memory.weights" (bytes of the file). PUMICE_ERR_NOT_FOUND for other names.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_get_int(const pumice_model *model, const char *name,
    int64_t *out, pumice_error *err);

/**
 * What a session with these options (NULL: the defaults) will take, in bytes:
 *
 * - "weights": the model's file. All sessions of a model share it, and if it is mapped, all processes
 * - "kv": the keys and values of one sequence that fills its context. Memory is taken as it is needed, for 128 positions
 *   at a time
 * - "scratch": the buffers of a step of "session.chunk" tokens on "session.threads" threads, and one output. A prompt with
 *   fewer tokens takes less; each further output of a call takes 4 bytes for each token of the vocabulary (with
 *   "session.embeddings", 4 * "n_embd" more)
 * - "total": all of these
 *
 * PUMICE_ERR_NOT_FOUND for other names, PUMICE_ERR_INVALID for options that a session could not have.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_memory(const pumice_model *model,
    const pumice_options *opts, const char *name, int64_t *out, pumice_error *err);

/**
 * A text that describes the model: "arch" (the architecture: "llama"), "quant" (the tensor type that most of the file is
 * made of: "Q4_K"). Stores a pointer to `len` bytes of UTF-8, not NUL-terminated, borrowed from the model: valid until
 * it is freed. PUMICE_ERR_NOT_FOUND for other names.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_get_string(const pumice_model *model, const char *name,
    const char **out, size_t *len, pumice_error *err);

/**
 * How many metadata keys the model's file has.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_meta_count(const pumice_model *model, size_t *out,
    pumice_error *err);

/**
 * The name of metadata key number `index`, in the file's order. Stores a pointer to `len` bytes of UTF-8 with a NUL
 * behind them, borrowed from the model: valid until it is freed. PUMICE_ERR_NOT_FOUND beyond the last one.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_meta_key(const pumice_model *model, size_t index,
    const char **key, size_t *len, pumice_error *err);

/**
 * The type of a metadata value, PUMICE_META_*, and how many elements it has: 1 unless it is an array.
 * PUMICE_ERR_NOT_FOUND if the key is not there.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_meta_type(const pumice_model *model, const char *key,
    int32_t *type, size_t *count, pumice_error *err);

/**
 * An integer, or a truth value as 0 or 1, of the metadata: the value of `key`, or element number `index` of it (0 for
 * the value of a key that is no array). PUMICE_ERR_NOT_FOUND if the key or the element is not there,
 * PUMICE_ERR_WRONG_TYPE if it is of another type, PUMICE_ERR_INVALID if it is above INT64_MAX.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_meta_int(const pumice_model *model, const char *key,
    size_t index, int64_t *out, pumice_error *err);

/**
 * A float of the metadata; otherwise as pumice_model_meta_int.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_meta_float(const pumice_model *model, const char *key,
    size_t index, double *out, pumice_error *err);

/**
 * A string of the metadata: any bytes, since vocabularies hold pieces of characters. Stores a pointer to `len` bytes,
 * not NUL-terminated, borrowed from the model: valid until it is freed. Otherwise as pumice_model_meta_int.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_meta_string(const pumice_model *model, const char *key,
    size_t index, const char **out, size_t *len, pumice_error *err);

/**
 * Cuts text, `len` bytes of UTF-8, into tokens. `flags`: PUMICE_TOKENIZE_* added together, or 0. Stores their number in
 * `count`, and the tokens in `out` if it has room for them (`cap` tokens); NULL and 0 just ask for the number.
 * PUMICE_ERR_BUFFER_TOO_SMALL, PUMICE_ERR_UTF8, PUMICE_ERR_NOT_FOUND if the file has no vocabulary.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_tokenize(const pumice_model *model, const char *text,
    size_t len, int32_t flags, pumice_token *out, size_t cap, size_t *count, pumice_error *err);

/**
 * The text of `count` tokens: bytes, which end inside a character if the tokens do. `flags`: PUMICE_DETOKENIZE_SPECIAL
 * or 0. Stores the size in bytes in `len`, and the text in `buf` if it has room for it (`cap` bytes), with a NUL
 * behind it if that fits too; NULL and 0 just ask for the size. PUMICE_ERR_BUFFER_TOO_SMALL, PUMICE_ERR_INVALID for a
 * token that the vocabulary does not have.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_detokenize(const pumice_model *model,
    const pumice_token *tokens, size_t count, int32_t flags, char *buf, size_t cap, size_t *len,
    pumice_error *err);

/**
 * A token's name in the vocabulary, as the file has it: not quite its text (in many files a letter stands for the
 * space; see pumice_model_detokenize). Stores a pointer to `len` bytes, not NUL-terminated, borrowed from the model:
 * valid until it is freed. PUMICE_ERR_INVALID for a token that the vocabulary does not have.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_token_text(const pumice_model *model, pumice_token token,
    const char **text, size_t *len, pumice_error *err);

/**
 * What a token is: stores PUMICE_TOKEN_* flags added together. PUMICE_ERR_INVALID for a token that the vocabulary does
 * not have.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_token_flags(const pumice_model *model, pumice_token token,
    int32_t *flags, pumice_error *err);

/**
 * The token with a role: "bos", "eos", "unk", "sep", "pad", "mask", "eot" (end of turn), "eom" (end of message),
 * "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep" (filling in the middle). Stores -1 if the model has
 * none. PUMICE_ERR_NOT_FOUND for other names.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_special_token(const pumice_model *model, const char *name,
    pumice_token *out, pumice_error *err);

/**
 * Writes a conversation out as the text that the model continues: `count` messages, each with a role ("system",
 * "user", "assistant", or what else the template knows) and a content, all NUL-terminated UTF-8. `tmpl` is a chat
 * template in Jinja2's language, NUL-terminated; NULL for the model's own. `flags`: PUMICE_CHAT_GENERATION_PROMPT or 0.
 * Stores the size in bytes in `len`, and the text in `buf` if it has room for it (`cap` bytes), with a NUL behind it if
 * that fits too; NULL and 0 just ask for the size. Tokenize it with PUMICE_TOKENIZE_ADD_SPECIAL and
 * PUMICE_TOKENIZE_PARSE_SPECIAL, which does not double the token that begins a text. PUMICE_ERR_BUFFER_TOO_SMALL,
 * PUMICE_ERR_UTF8, PUMICE_ERR_NOT_FOUND if the model has no template, PUMICE_ERR_SYNTAX if it cannot be parsed,
 * PUMICE_ERR_INVALID if it refuses the messages (the message says why) or asks for too much work,
 * PUMICE_ERR_UNSUPPORTED if the library was built without chat templates.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_chat_format(const pumice_model *model, const char *tmpl,
    const char *const *roles, const char *const *contents, size_t count, int32_t flags, char *buf, size_t cap,
    size_t *len, pumice_error *err);

/**
 * As pumice_model_chat_format, for conversations that are more than roles and texts: `json`, `json_len` bytes of UTF-8,
 * is a JSON object whose members become the template's variables: "messages" (required: a list of objects), "tools",
 * "add_generation_prompt" (a truth value), and any other that the template knows. If the model has a template of its
 * own for tools, it is used where there are some. PUMICE_ERR_SYNTAX also if the JSON cannot be parsed.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_chat_format_json(const pumice_model *model,
    const char *tmpl, const char *json, size_t json_len, char *buf, size_t cap, size_t *len,
    pumice_error *err);

/**
 * Makes a session without any sequence. Reads PUMICE_KEY_SESSION_* of `opts` (NULL: the defaults). The caller frees it
 * with pumice_session_free; it keeps the model alive by itself. After a fork, the sessions of the parent process return
 * PUMICE_ERR_POISONED in the child.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_new(const pumice_model *model, const pumice_options *opts,
    pumice_session **out, pumice_error *err);

/**
 * Changes how a session runs from the next call on, by those of PUMICE_KEY_SESSION_* that have been set in `opts` (and
 * not unset again): "session.threads", "session.chunk", "session.kernels", "session.memory_limit", "session.pooling" and
 * "session.normalize". The others may be set, but only to what they are. PUMICE_ERR_INVALID otherwise; nothing has changed
 * then.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_configure(pumice_session *session,
    const pumice_options *opts, pumice_error *err);

/**
 * Forgets all sequences and outputs, and frees their memory.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_reset(pumice_session *session, pumice_error *err);

/**
 * Makes the call that the session is in return PUMICE_ERR_CANCELLED soon; does nothing if it is in none. May be called
 * from any thread and from a signal handler, as long as the session is not freed at the same time.
 */
PUMICE_API void PUMICE_CALL pumice_session_cancel(pumice_session *session);

/**
 * Frees a session. NULL is allowed.
 */
PUMICE_API void PUMICE_CALL pumice_session_free(pumice_session *session);

/**
 * Feeds `count` tokens (1 or more) to sequence 0; afterwards output 0 belongs to the last of them. A call that fails
 * or is cancelled leaves the sequence as it was, without outputs. PUMICE_ERR_INVALID for a token that the model does
 * not have, PUMICE_ERR_CONTEXT_FULL, PUMICE_ERR_NO_MEMORY (if it is because of "session.memory_limit", the outputs stay
 * too), PUMICE_ERR_CANCELLED.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_decode(pumice_session *session,
    const pumice_token *tokens, size_t count, pumice_error *err);

/**
 * Feeds all runs of a batch to their sequences at once; afterwards the outputs that they ask for can be read, in the
 * order of the batch. A call that fails or is cancelled leaves all sequences as they were, without outputs. Statuses
 * as for pumice_session_decode.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_decode_batch(pumice_session *session,
    const pumice_batch *batch, pumice_error *err);

/**
 * How many outputs the last call that fed tokens has left.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_output_count(pumice_session *session, size_t *out,
    pumice_error *err);

/**
 * The logits of output number `index`: stores a pointer to `count` floats, one for each token of the vocabulary,
 * borrowed from the session: valid until tokens are fed to it again, or it is reset or freed. PUMICE_ERR_NOT_FOUND if
 * there is no such output.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_logits(pumice_session *session, size_t index,
    const float **out, size_t *count, pumice_error *err);

/**
 * The final hidden state of output number `index`, after the model's last norm and before the output matrix, if the
 * session was made with "session.embeddings": stores a pointer to `count` floats ("n_embd" of them), borrowed from the
 * session: valid until tokens are fed to it again, or it is reset or freed. PUMICE_ERR_INVALID if the option was not
 * set, PUMICE_ERR_NOT_FOUND if there is no such output.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_embedding(pumice_session *session, size_t index,
    const float **out, size_t *count, pumice_error *err);

/**
 * The most likely tokens of output number `index`: stores the lesser of `cap` and "n_vocab" of them in `tokens`, the most
 * likely first, the lower token first among equals, and the natural logarithms of their probabilities (the log-softmax
 * over all logits; negative infinity for a token that cannot be) in `logprobs`; and how many they are in `count`.
 * Both buffers have room for `cap`. PUMICE_ERR_NOT_FOUND if there is no such output.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_top_logprobs(pumice_session *session, size_t index,
    pumice_token *tokens, float *logprobs, size_t cap, size_t *count, pumice_error *err);

/**
 * A number that describes the session:
 *
 * - "n_ctx": positions that a sequence may have; "threads"; "chunk": tokens of a prompt that go through the model
 *   together
 * - "memory.kv": bytes that the keys and values of all sequences take now, what they share counted once
 * - "memory.scratch": bytes that a step's buffers and the outputs take now; they are kept from one call to the next
 * - "memory.limit": what "session.memory_limit" says
 * - "perf.prompt_tokens", "perf.prompt_ns": tokens, and nanoseconds, of the steps in which some sequence had more than
 *   one token, since the session was made or pumice_session_perf_reset was called
 * - "perf.decode_tokens", "perf.decode_ns": the same of the steps with one token of each sequence
 *
 * Steps count when they are complete, also those of a call that fails later. PUMICE_ERR_NOT_FOUND for other names.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_get_int(pumice_session *session, const char *name,
    int64_t *out, pumice_error *err);

/**
 * Sets the "perf." counters of pumice_session_get_int to 0.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_perf_reset(pumice_session *session, pumice_error *err);

/**
 * The tokens that sequence `seq` has been fed; none for a sequence that does not exist. Stores their number in `count`,
 * and the tokens in `out` if it has room for them (`cap` tokens); NULL and 0 just ask for the number.
 * PUMICE_ERR_BUFFER_TOO_SMALL.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_seq_tokens(pumice_session *session, pumice_seq seq,
    pumice_token *out, size_t cap, size_t *count, pumice_error *err);

/**
 * Forgets all but the first `keep` tokens of sequence `seq`, if it has more. What the other tokens led to is as if
 * they had never been fed; outputs stay.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_seq_truncate(pumice_session *session, pumice_seq seq,
    size_t keep, pumice_error *err);

/**
 * Makes sequence `to` one of the first `prefix` tokens of sequence `from`; what `to` held is forgotten. The two share the
 * keys and values of these tokens: nothing is copied and no memory is taken, until one of them is fed more. It then gets
 * a copy of its own of the last page of them, unless that is full. Both may be fed, truncated, forked again and forgotten
 * in any order. With `from` equal to `to` the sequence is truncated. Outputs stay.
 * PUMICE_ERR_INVALID if `from` has fewer than `prefix` tokens and for negative sequences; PUMICE_ERR_NO_MEMORY.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_seq_fork(pumice_session *session, pumice_seq from,
    pumice_seq to, size_t prefix, pumice_error *err);

/**
 * Saves sequence `seq`, or all with PUMICE_SEQ_ALL: tokens, keys and values, for pumice_session_state_load. Stores the
 * number of bytes in `len`, and the state in `buf` if it has room for it (`cap` bytes); NULL and 0 just ask for the
 * number, which takes no time. A sequence that does not exist is saved as one without tokens. What sequences share is
 * saved once. PUMICE_ERR_BUFFER_TOO_SMALL.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_state_save(pumice_session *session, pumice_seq seq,
    void *buf, size_t cap, size_t *len, pumice_error *err);

/**
 * Loads a state that was saved with the same model, by any session, on any computer, and goes on from there with the
 * same logits to the last bit. With PUMICE_SEQ_ALL the sequences of the state replace all that the session has; a state
 * of one sequence can be loaded into any sequence `seq`, which it replaces. Afterwards there are no outputs: for logits,
 * truncate the sequence by its last token and feed that again.
 *
 * PUMICE_ERR_FORMAT if the `len` bytes are no state or a damaged one; PUMICE_ERR_MISMATCH if it is one of another model
 * or of a later version of the library, or has not one sequence where one is asked for; PUMICE_ERR_CONTEXT_FULL if a
 * sequence is too long for the session; PUMICE_ERR_NO_MEMORY. The session is then as it was, outputs too.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_state_load(pumice_session *session, pumice_seq seq,
    const void *data, size_t len, pumice_error *err);

/**
 * Saves to a file as pumice_session_state_save does to a buffer. A file that is there is replaced when the new one is
 * complete and on the disk, and stays as it is if that fails or the process ends before. PUMICE_ERR_IO if the file
 * cannot be written, PUMICE_ERR_UTF8 if `path` is not UTF-8.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_state_save_file(pumice_session *session, pumice_seq seq,
    const char *path, pumice_error *err);

/**
 * Loads from a file as pumice_session_state_load does from a buffer, without holding the whole file in memory. Statuses
 * as there; PUMICE_ERR_IO if the file cannot be read, PUMICE_ERR_UTF8 if `path` is not UTF-8.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_state_load_file(pumice_session *session, pumice_seq seq,
    const char *path, pumice_error *err);

/**
 * Makes an empty batch, for pumice_session_decode_batch. The caller frees it with pumice_batch_free.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_batch_new(pumice_batch **out, pumice_error *err);

/**
 * Adds a run: `count` tokens, copied, that extend sequence `seq`. A sequence may have several runs, which follow each
 * other. `outputs` says which of the tokens get an output: PUMICE_OUTPUTS_NONE, PUMICE_OUTPUTS_LAST or
 * PUMICE_OUTPUTS_ALL. PUMICE_ERR_INVALID for other values, for a negative sequence and for negative tokens.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_batch_add(pumice_batch *batch, pumice_seq seq,
    const pumice_token *tokens, size_t count, int32_t outputs, pumice_error *err);

/**
 * Takes all runs out of a batch, to fill it anew.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_batch_clear(pumice_batch *batch, pumice_error *err);

/**
 * Frees a batch. NULL is allowed.
 */
PUMICE_API void PUMICE_CALL pumice_batch_free(pumice_batch *batch);

/**
 * Makes a sampler for the tokens of a model. Reads PUMICE_KEY_SAMPLER_* of `opts` (NULL: the defaults). The caller frees
 * it with pumice_sampler_free; it keeps the model alive by itself.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_sampler_new(const pumice_model *model, const pumice_options *opts,
    pumice_sampler **out, pumice_error *err);

/**
 * Copies a sampler with its history and the state of its random numbers: both go on alike. The caller frees the copy
 * with pumice_sampler_free.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_sampler_clone(const pumice_sampler *sampler, pumice_sampler **out,
    pumice_error *err);

/**
 * Replaces the biases: `bias[i]` will be added to the logit of `tokens[i]`, for `count` tokens; negative infinity
 * forbids a token; 0 tokens take all biases away. PUMICE_ERR_INVALID if a bias is NaN or the model does not have a
 * token; the biases are then as they were.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_sampler_set_bias(pumice_sampler *sampler,
    const pumice_token *tokens, const float *bias, size_t count, pumice_error *err);

/**
 * Chooses a token by the logits of a session's output number `index` (see pumice_session_logits). The choice has no
 * effect by itself: feed it to the session, and tell the sampler with pumice_sampler_accept. PUMICE_ERR_NOT_FOUND if
 * there is no such output, PUMICE_ERR_MISMATCH if the session is of another model, PUMICE_ERR_INVALID if the biases
 * forbid every token.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_sampler_sample(pumice_sampler *sampler, pumice_session *session,
    size_t index, pumice_token *out, pumice_error *err);

/**
 * Chooses a token by `count` logits of the caller's own, one for each token of the model. PUMICE_ERR_MISMATCH if there
 * are more or fewer; otherwise as pumice_sampler_sample.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_sampler_sample_logits(pumice_sampler *sampler,
    const float *logits, size_t count, pumice_token *out, pumice_error *err);

/**
 * Tells the penalties that the text goes on with this token, whether it was sampled or is part of a prompt.
 * PUMICE_ERR_INVALID for a token that the model does not have.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_sampler_accept(pumice_sampler *sampler, pumice_token token,
    pumice_error *err);

/**
 * Forgets the accepted tokens and goes back to the start of the random numbers, as if just made. Biases stay.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_sampler_reset(pumice_sampler *sampler, pumice_error *err);

/**
 * Frees a sampler. NULL is allowed.
 */
PUMICE_API void PUMICE_CALL pumice_sampler_free(pumice_sampler *sampler);

/**
 * Feeds `count` tokens (1 or more) of a prompt to sequence 0 of a session, then chooses tokens with the sampler and
 * feeds them in turn, until the text ends. The sampler is told of the prompt's tokens too. New text goes to `fn` as soon
 * as it is complete (NULL: nowhere). Reads PUMICE_KEY_GENERATE_* and the progress callback of `opts` (NULL: the
 * defaults). Stores why the text ended in `finish`: PUMICE_FINISH_* (NULL: nowhere).
 *
 * Afterwards sequence 0 holds the prompt and all generated tokens but the last one. If the prompt fails or is
 * cancelled, the sequence is as it was; later, what has been fed stays. Statuses as for pumice_session_decode and
 * pumice_sampler_sample; PUMICE_ERR_CANCELLED also if a callback stops; PUMICE_ERR_NOT_FOUND if the model has no
 * vocabulary. Callbacks must not use the session (but for pumice_session_cancel), the sampler or the options: that
 * returns PUMICE_ERR_BUSY; if they free one of them, that takes effect when this call returns.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_generate(pumice_session *session, pumice_sampler *sampler,
    const pumice_token *prompt, size_t count, const pumice_options *opts, pumice_text_fn fn, void *user_data,
    int32_t *finish, pumice_error *err);

/**
 * How likely a prompt goes on in each of `count` ways: stores in `logprobs`, which has room for `count`, the natural
 * logarithm of the probability of each continuation after the prompt, the sum over its tokens (0 for one without any).
 * `prompt_count` is 1 or more; continuation `i` has `counts[i]` tokens from `continuations[i]` on (NULL is good for none).
 *
 * The prompt is fed to sequence 0, which afterwards holds it and nothing else; the tokens that the sequence has in common
 * with it already are not computed again, so that prompts which share a beginning cost what sets them apart. Other
 * sequences stay. Continuations are fed many at once, with room in memory for 64 at a time. Afterwards there are no
 * outputs.
 *
 * The text of a prompt and its continuation is best tokenized as a whole, and cut where it stops being that of the prompt
 * alone: a token may reach across. PUMICE_ERR_INVALID for a token that the model does not have, PUMICE_ERR_CONTEXT_FULL
 * if there is no room for the prompt and the longest continuation: the session is then as it was. PUMICE_ERR_NO_MEMORY and
 * PUMICE_ERR_CANCELLED: sequence 0 then holds the prompt, or what it had in common with it.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_score(pumice_session *session, const pumice_token *prompt,
    size_t prompt_count, const pumice_token *const *continuations, const size_t *counts, size_t count,
    double *logprobs, pumice_error *err);

/**
 * A text as a vector: the final hidden states of `count` tokens (1 or more), those that the output matrix would make logits
 * of, pooled and normalized as "session.pooling" and "session.normalize" say. Stores the number of floats in `len`,
 * "n_embd" (see pumice_model_get_int), or with the pooling "none" `count` times as many, token by token; and the floats in
 * `out` if it has room for them (`cap` floats). NULL and 0 just ask for the number, which takes no time and no notice of
 * what the tokens are.
 *
 * No logits are computed, and "session.embeddings" makes no difference. The text is fed to a sequence that is forgotten, all
 * others stay as they are; afterwards there are no outputs, also if the call fails. Statuses as for pumice_session_decode;
 * PUMICE_ERR_BUFFER_TOO_SMALL.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_embed(pumice_session *session, const pumice_token *tokens,
    size_t count, float *out, size_t cap, size_t *len, pumice_error *err);

/**
 * What the model's classification head (its own, or that of "model.head") makes of `count` tokens: a score for each class,
 * "n_labels" of them (see pumice_model_get_int), named by pumice_model_label. They are logits: the greatest decides, and
 * their softmax are the probabilities. Stores their number in `len`, and the scores in `scores` if it has room for them (`cap`
 * floats); NULL and 0 just ask for the number. How the hidden states are pooled for it, the head itself says.
 * PUMICE_ERR_INVALID if there is no head; otherwise as pumice_session_embed.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_session_classify(pumice_session *session,
    const pumice_token *tokens, size_t count, float *scores, size_t cap, size_t *len, pumice_error *err);

/**
 * The name of a class of the model's classification head: stores a pointer to its `len` bytes of UTF-8, not NUL-terminated,
 * borrowed from the model. `index` is that of its score; without names of its own, a head's classes are "LABEL_0",
 * "LABEL_1" and so on. PUMICE_ERR_NOT_FOUND beyond the last, and if there is no head.
 */
PUMICE_API pumice_status PUMICE_CALL pumice_model_label(const pumice_model *model, size_t index,
    const char **text, size_t *len, pumice_error *err);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* PUMICE_H */
