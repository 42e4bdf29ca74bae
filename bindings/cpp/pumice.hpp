/*
 * pumice.h for C++17 and later: one header, no library of its own.
 *
 *     pumice::Model model = pumice::Model::open("model.gguf");
 *     pumice::Session session = pumice::Session::create(model);
 *     pumice::Sampler sampler = pumice::Sampler::create(model, pumice::Options().temperature(0.7));
 *     for (std::string_view text : session.stream(sampler, model.tokenize("Once upon a time")))
 *         std::cout << text << std::flush;
 *
 * Every handle is a class that frees it. All but Model are move-only; a copy of a Model is another handle of the same
 * model. An object that was moved from can only be assigned to or destroyed. Threads: as pumice.h says for the handles;
 * a const member function may be called by several threads at once.
 *
 * Errors. What can fail returns a Result<T>. With exceptions, that is T itself, and a failure throws pumice::Error.
 * Without them (-fno-exceptions, or PUMICE_NO_EXCEPTIONS defined before the header is included), Result<T> is a class
 * that holds a T or an Error:
 *
 *     auto model = pumice::Model::open("model.gguf");
 *     if (!model)
 *         return report(model.error().status(), model.error().message());
 *     model->tokenize("Once upon a time");
 *
 * The two kinds live in inline namespaces of their own, so that a program may have translation units of both.
 *
 * Text is UTF-8 and needs no NUL behind it. Names and paths are C strings or std::string.
 *
 * This header is source: it follows pumice.h, and is no part of the promise that the C ABI makes.
 */

#ifndef PUMICE_HPP
#define PUMICE_HPP

#include "pumice.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if !defined(PUMICE_NO_EXCEPTIONS) && !defined(__cpp_exceptions)
#define PUMICE_NO_EXCEPTIONS
#endif
#if !defined(PUMICE_NO_EXCEPTIONS)
#include <exception>
#endif

namespace pumice {
#if defined(PUMICE_NO_EXCEPTIONS)
inline namespace with_results {
#else
inline namespace with_exceptions {
#endif

using Token = pumice_token;
using Seq = pumice_seq;
/// Stands for all sequences, where a state is saved or loaded.
constexpr Seq all_sequences = PUMICE_SEQ_ALL;

/// Some elements that belong to someone else, as std::span is in C++20. Made of a vector, an array, a list in braces,
/// or anything else with data() and size().
template <class T>
class View {
public:
    constexpr View() noexcept = default;
    constexpr View(const T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    // A list in braces lives until the end of the full expression: enough for an argument.
    constexpr View(std::initializer_list<T> list) noexcept : data_(std::data(list)), size_(list.size()) {}
    template <std::size_t N>
    constexpr View(const T (&array)[N]) noexcept : data_(array), size_(N) {}
    template <class C,
        class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<const C &>().data()), const T *>>>
    constexpr View(const C &container) noexcept : data_(container.data()), size_(container.size()) {}

    constexpr const T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr const T *begin() const noexcept { return data_; }
    constexpr const T *end() const noexcept { return data_ + size_; }
    constexpr const T &operator[](std::size_t index) const noexcept { return data_[index]; }

private:
    const T *data_ = nullptr;
    std::size_t size_ = 0;
};

using Tokens = View<Token>;

/// What a call came to: PUMICE_OK and PUMICE_ERR_*, which may become more. An unknown value is a failure.
enum class Status : std::int32_t {
    ok = PUMICE_OK,
    internal = PUMICE_ERR_INTERNAL,
    null = PUMICE_ERR_NULL,
    invalid = PUMICE_ERR_INVALID,
    bad_handle = PUMICE_ERR_BAD_HANDLE,
    busy = PUMICE_ERR_BUSY,
    poisoned = PUMICE_ERR_POISONED,
    no_memory = PUMICE_ERR_NO_MEMORY,
    io = PUMICE_ERR_IO,
    format = PUMICE_ERR_FORMAT,
    unsupported = PUMICE_ERR_UNSUPPORTED,
    mismatch = PUMICE_ERR_MISMATCH,
    buffer_too_small = PUMICE_ERR_BUFFER_TOO_SMALL,
    context_full = PUMICE_ERR_CONTEXT_FULL,
    cancelled = PUMICE_ERR_CANCELLED,
    unknown_key = PUMICE_ERR_UNKNOWN_KEY,
    wrong_type = PUMICE_ERR_WRONG_TYPE,
    utf8 = PUMICE_ERR_UTF8,
    syntax = PUMICE_ERR_SYNTAX,
    not_found = PUMICE_ERR_NOT_FOUND,
};

/// A status's name: "PUMICE_ERR_IO". Static text.
inline const char *name(Status status) noexcept { return pumice_status_name(static_cast<std::int32_t>(status)); }

/// A failed call: its status, and one line of English for people.
class Error
#if !defined(PUMICE_NO_EXCEPTIONS)
    : public std::exception
#endif
{
public:
    Error(Status status, std::string message) : status_(status), message_(std::move(message)) {}

    Status status() const noexcept { return status_; }
    const std::string &message() const noexcept { return message_; }
#if !defined(PUMICE_NO_EXCEPTIONS)
    const char *what() const noexcept override { return message_.c_str(); }
#endif

private:
    Status status_;
    std::string message_;
};

#if defined(PUMICE_NO_EXCEPTIONS)

/// A T, or the Error instead of it. Look before you take: `*` and `->` need the T to be there, error() the Error.
template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : value_(std::move(value)) {}
    Result(Error error) : error_(std::move(error)) {}

    bool ok() const noexcept { return value_.has_value(); }
    explicit operator bool() const noexcept { return ok(); }
    T &operator*() & noexcept { return *value_; }
    const T &operator*() const & noexcept { return *value_; }
    T &&operator*() && noexcept { return std::move(*value_); }
    T *operator->() noexcept { return &*value_; }
    const T *operator->() const noexcept { return &*value_; }
    T value_or(T other) && { return ok() ? std::move(*value_) : std::move(other); }
    const Error &error() const noexcept { return *error_; }
    Status status() const noexcept { return ok() ? Status::ok : error_->status(); }

private:
    std::optional<T> value_;
    std::optional<Error> error_;
};

/// Success, or the Error.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    bool ok() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return ok(); }
    const Error &error() const noexcept { return *error_; }
    Status status() const noexcept { return ok() ? Status::ok : error_->status(); }

private:
    std::optional<Error> error_;
};

#else

template <class T>
using Result = T;

#endif

/// What is below serves this header alone.
namespace detail {

/// A pumice_error, taken from this thread's store if it is there: it is not while a call around this one, whose
/// callback we are in, has it.
class Details {
public:
    Details() noexcept : error_(std::exchange(store().error, nullptr))
    {
        if (!error_)
            error_ = pumice_error_new();
    }
    ~Details()
    {
        if (store().error)
            pumice_error_free(error_);
        else
            store().error = error_;
    }
    Details(const Details &) = delete;
    Details &operator=(const Details &) = delete;

    pumice_error *get() const noexcept { return error_; }
    Error error(pumice_status status) const
    {
        // There is no pumice_error if there was no memory for it.
        return Error(static_cast<Status>(status), error_ ? pumice_error_message(error_) : pumice_status_name(status));
    }

private:
    struct Store {
        pumice_error *error = nullptr;
        ~Store() { pumice_error_free(std::exchange(error, nullptr)); }
    };
    static Store &store() noexcept
    {
        thread_local Store store;
        return store;
    }

    pumice_error *error_;
};

#if !defined(PUMICE_NO_EXCEPTIONS)
/// What a callback of this thread threw, until the call around it is back.
inline std::exception_ptr &thrown() noexcept
{
    thread_local std::exception_ptr thrown;
    return thrown;
}
#endif

/// Calls a callback: whether to go on. Callbacks that return nothing go on; what they throw stops, and is kept.
template <class F, class... A>
bool answer(F &function, A &&...arguments) noexcept
{
#if !defined(PUMICE_NO_EXCEPTIONS)
    try {
#endif
        if constexpr (std::is_void_v<std::invoke_result_t<F &, A...>>) {
            std::invoke(function, std::forward<A>(arguments)...);
            return true;
        } else {
            return static_cast<bool>(std::invoke(function, std::forward<A>(arguments)...));
        }
#if !defined(PUMICE_NO_EXCEPTIONS)
    } catch (...) {
        thrown() = std::current_exception();
        return false;
    }
#endif
}

/// One call into the library: gives it a pumice_error, and turns its status into a Result.
class Call {
public:
#if !defined(PUMICE_NO_EXCEPTIONS)
    Call() noexcept : around_(std::exchange(thrown(), nullptr)) {}
    ~Call() { thrown() = std::move(around_); }
#else
    Call() = default;
    ~Call() = default;
#endif
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;

    pumice_error *err() const noexcept { return details_.get(); }

    /// Whether all went well so far; later steps of a call are left out otherwise.
    bool then(pumice_status status) noexcept
    {
        status_ = status;
        return status == PUMICE_OK;
    }

    /// The result is `value`, if all went well.
    template <class T>
    Result<T> result(T &&value) const
    {
        static_assert(!std::is_lvalue_reference_v<T>, "results are moved out");
        if (status_ != PUMICE_OK)
            return fail<T>();
        return std::move(value);
    }
    Result<void> result() const
    {
        if (status_ != PUMICE_OK)
            return fail<void>();
        return Result<void>();
    }

    pumice_status status() const noexcept { return status_; }
    Error error() const { return details_.error(status_); }

private:
    template <class T>
    Result<T> fail() const
    {
#if defined(PUMICE_NO_EXCEPTIONS)
        return error();
#else
        if (std::exception_ptr exception = std::exchange(thrown(), nullptr))
            std::rethrow_exception(exception);
        throw error();
#endif
    }

    Details details_;
    pumice_status status_ = PUMICE_OK;
#if !defined(PUMICE_NO_EXCEPTIONS)
    // What a callback has thrown that has called us before its own call was back.
    std::exception_ptr around_;
#endif
};

/// Fills a vector or a string by asking for its size first. `read(data, capacity, &size)` is the C function.
template <class C, class F>
bool fill(Call &call, C &out, F read)
{
    std::size_t size = 0;
    if (!call.then(read(nullptr, 0, &size)))
        return false;
    out.resize(size);
    return size == 0 || call.then(read(out.data(), out.size(), &size));
}

/// A handle and the function that frees it.
template <class T, void(PUMICE_CALL *Free)(T *)>
struct Deleter {
    void operator()(T *handle) const noexcept { Free(handle); }
};
template <class T, void(PUMICE_CALL *Free)(T *)>
using Handle = std::unique_ptr<T, Deleter<T, Free>>;

/// Any integer but bool; no float.
struct Integer {
    template <class T, class = std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>>
    constexpr Integer(T integer) noexcept : value(static_cast<std::int64_t>(integer))
    {
    }
    std::int64_t value;
};

/// true or false; nothing that merely converts to it.
struct Truth {
    template <class T, class = std::enable_if_t<std::is_same_v<T, bool>>>
    constexpr Truth(T truth) noexcept : value(truth ? 1 : 0)
    {
    }
    std::int64_t value;
};

} // namespace detail

/// The version of the library that is running: "0.1.0". Static text.
inline const char *version() noexcept { return pumice_version_string(); }
/// The same as a number, comparable with PUMICE_VERSION_NUMBER: 0xMMmmpp00.
inline std::uint32_t version_number() noexcept { return pumice_version_number(); }
/// Whether the library, on this computer, has a feature: "arch:llama", "quant:q4_k", "cpu:avx2", "key:model.mmap".
inline bool has_feature(const std::string &name) noexcept { return pumice_has_feature(name.c_str()) != 0; }

/// The library as JSON: version, what it can run, and every option with its type, default and meaning.
inline Result<std::string> describe()
{
    detail::Call call;
    std::string text;
    detail::fill(call, text, [&](char *buf, std::size_t cap, std::size_t *len) {
        return pumice_describe(buf, cap, len, call.err());
    });
    return call.result(std::move(text));
}

/// Settings for all other calls, each of which reads its own; what is not set has its default. pumice.h has the meaning
/// and range of each beside its PUMICE_KEY_*.
///
///     pumice::Options options;
///     options.threads(4).temperature(0.7).stop("\n");
///
/// A value out of range throws at once. Without exceptions, error() has the first such error, and calls that are given
/// the options fail with it.
class Options {
public:
    Options()
    {
        detail::Call call;
        pumice_options *handle = nullptr;
        call.then(pumice_options_new(&handle, call.err()));
        handle_.reset(handle);
        note(call);
    }

    Options &mmap(detail::Truth on) { return set_int(PUMICE_KEY_MODEL_MMAP, on.value); }

    Options &metadata_only(detail::Truth on) { return set_int(PUMICE_KEY_MODEL_METADATA_ONLY, on.value); }
    Options &preload(detail::Truth on) { return set_int(PUMICE_KEY_MODEL_PRELOAD, on.value); }
    /// A file with a classification head, for Session::classify.
    Options &head(std::string_view path) { return set_string(PUMICE_KEY_MODEL_HEAD, path); }

    Options &n_ctx(detail::Integer positions) { return set_int(PUMICE_KEY_SESSION_N_CTX, positions.value); }
    Options &threads(detail::Integer count) { return set_int(PUMICE_KEY_SESSION_THREADS, count.value); }
    Options &chunk(detail::Integer tokens) { return set_int(PUMICE_KEY_SESSION_CHUNK, tokens.value); }
    Options &memory_limit(detail::Integer bytes) { return set_int(PUMICE_KEY_SESSION_MEMORY_LIMIT, bytes.value); }
    Options &embeddings(detail::Truth keep) { return set_int(PUMICE_KEY_SESSION_EMBEDDINGS, keep.value); }
    /// What Session::embed gives: "mean", "last", "cls", "none" or "auto"; and whether its vectors are of length 1.
    Options &pooling(std::string_view name) { return set_string(PUMICE_KEY_SESSION_POOLING, name); }
    Options &normalize(detail::Truth on) { return set_int(PUMICE_KEY_SESSION_NORMALIZE, on.value); }
    /// "f16", "f32" or "q8_0": what keys and values are kept as.
    Options &kv_type(std::string_view name) { return set_string(PUMICE_KEY_SESSION_KV_TYPE, name); }
    Options &activations(std::string_view name) { return set_string(PUMICE_KEY_SESSION_ACTIVATIONS, name); }
    Options &kernels(std::string_view name) { return set_string(PUMICE_KEY_SESSION_KERNELS, name); }

    Options &temperature(double value) { return set_float(PUMICE_KEY_SAMPLER_TEMPERATURE, value); }
    Options &top_k(detail::Integer tokens) { return set_int(PUMICE_KEY_SAMPLER_TOP_K, tokens.value); }
    Options &top_p(double value) { return set_float(PUMICE_KEY_SAMPLER_TOP_P, value); }
    Options &min_p(double value) { return set_float(PUMICE_KEY_SAMPLER_MIN_P, value); }
    Options &repeat_penalty(double value) { return set_float(PUMICE_KEY_SAMPLER_REPEAT_PENALTY, value); }
    Options &frequency_penalty(double value) { return set_float(PUMICE_KEY_SAMPLER_FREQUENCY_PENALTY, value); }
    Options &presence_penalty(double value) { return set_float(PUMICE_KEY_SAMPLER_PRESENCE_PENALTY, value); }
    Options &penalty_last_n(detail::Integer tokens) { return set_int(PUMICE_KEY_SAMPLER_PENALTY_LAST_N, tokens.value); }
    Options &seed(detail::Integer value) { return set_int(PUMICE_KEY_SAMPLER_SEED, value.value); }

    Options &max_tokens(detail::Integer tokens) { return set_int(PUMICE_KEY_GENERATE_MAX_TOKENS, tokens.value); }
    /// One more stop text.
    Options &stop(std::string_view text) { return set_string(PUMICE_KEY_GENERATE_STOP, text); }
    Options &special(detail::Truth show) { return set_int(PUMICE_KEY_GENERATE_SPECIAL, show.value); }

    /// Options by their names, for those that this header does not know.
    Options &set_int(const std::string &key, std::int64_t value)
    {
        detail::Call call;
        call.then(pumice_options_set_int(handle_.get(), key.c_str(), value, call.err()));
        return note(call);
    }
    Options &set_float(const std::string &key, double value)
    {
        detail::Call call;
        call.then(pumice_options_set_float(handle_.get(), key.c_str(), value, call.err()));
        return note(call);
    }
    Options &set_string(const std::string &key, std::string_view value)
    {
        detail::Call call;
        call.then(pumice_options_set_string(handle_.get(), key.c_str(), value.data(), value.size(), call.err()));
        return note(call);
    }
    /// Gives an option its default again; a list becomes empty.
    Options &unset(const std::string &key)
    {
        detail::Call call;
        call.then(pumice_options_unset(handle_.get(), key.c_str(), call.err()));
        return note(call);
    }

    /// What calls that take long tell their progress to: (done, total), both std::uint64_t. It stops the call by
    /// returning false (the call then fails with Status::cancelled) or by throwing (what it threw comes out of the
    /// call); if it returns nothing, the call goes on. It must not change or destroy these options.
    template <class F>
    Options &progress(F function)
    {
        auto holder = std::make_unique<Progress>(
            [function = std::move(function)](std::uint64_t done, std::uint64_t total) mutable {
                return detail::answer(function, done, total);
            });
        detail::Call call;
        if (call.then(pumice_options_set_progress(handle_.get(), tell_progress, holder.get(), call.err())))
            progress_ = std::move(holder);
        return note(call);
    }

    /// What models and sessions made with these options tell what they do, down to a level, PUMICE_LOG_*: it takes a
    /// level and a std::string_view, on the thread that makes the call. It lives until the last of them is gone; what
    /// it throws is lost.
    template <class F>
    Options &log(std::int32_t level, F function)
    {
        detail::Call call;
        auto holder = std::make_unique<F>(std::move(function));
        call.then(pumice_options_set_log(
            handle_.get(), level, tell_log<F>, holder.release(), drop_log<F>, call.err()));
        return note(call);
    }

    /// The first error of a setter, without exceptions.
    const std::optional<Error> &error() const noexcept { return error_; }
    const pumice_options *get() const noexcept { return handle_.get(); }

private:
    using Progress = std::function<bool(std::uint64_t, std::uint64_t)>;

    static std::int32_t PUMICE_CALL tell_progress(void *user_data, std::uint64_t done, std::uint64_t total)
    {
        return (*static_cast<Progress *>(user_data))(done, total) ? PUMICE_CONTINUE : 0;
    }

    template <class F>
    static void PUMICE_CALL tell_log(void *user_data, std::int32_t level, const char *message, std::size_t len)
    {
        const std::string_view text(message, len);
        const auto tell = [&] { (*static_cast<F *>(user_data))(level, text); };
#if defined(PUMICE_NO_EXCEPTIONS)
        tell();
#else
        try {
            tell();
        } catch (...) {
        }
#endif
    }
    template <class F>
    static void PUMICE_CALL drop_log(void *user_data)
    {
        delete static_cast<F *>(user_data);
    }

    Options &note(const detail::Call &call)
    {
#if defined(PUMICE_NO_EXCEPTIONS)
        if (call.status() != PUMICE_OK && !error_)
            error_ = call.error();
#else
        call.result();
#endif
        return *this;
    }

    // The C side holds a pointer to the function, which stays where it is when the options move.
    std::unique_ptr<Progress> progress_;
    detail::Handle<pumice_options, pumice_options_free> handle_;
    std::optional<Error> error_;
};

/// What tokenize adds and reads: PUMICE_TOKENIZE_*, added together.
constexpr std::int32_t add_special = PUMICE_TOKENIZE_ADD_SPECIAL;
constexpr std::int32_t parse_special = PUMICE_TOKENIZE_PARSE_SPECIAL;

/// The type of a metadata value: one of PUMICE_META_* of its elements, their number, and whether it is an array.
struct MetaType {
    std::int32_t element;
    std::size_t count;
    bool array;
};

/// A message of a conversation. Roles are "system", "user", "assistant", and what else the template knows.
struct Message {
    std::string role;
    std::string content;
};

/// A model: weights and vocabulary. Any number of threads may use it at once. A copy is another handle of the same
/// model, which lives until the last handle, session and sampler of it is gone.
class Model {
public:
    /// Opens a GGUF file, or the first part of a split one.
    static Result<Model> open(const std::string &path, const Options &options = {})
    {
        return make(options, [&](const pumice_options *opts, pumice_model **out, pumice_error *err) {
            return pumice_model_open(path.c_str(), opts, out, err);
        });
    }

    /// Opens a model in memory, which must stay readable and unchanged until `drop` is called: once, when the model and
    /// all that uses it are gone, on the thread that frees the last; also if this fails. It must not throw.
    template <class F, class = std::enable_if_t<std::is_invocable_v<F &>>>
    static Result<Model> open_memory(View<unsigned char> data, F drop, const Options &options = {})
    {
        auto holder = std::make_unique<F>(std::move(drop));
        return make(options, [&](const pumice_options *opts, pumice_model **out, pumice_error *err) {
            return pumice_model_open_memory(data.data(), data.size(), call_drop<F>, holder.release(), opts, out, err);
        });
    }
    /// The same for memory that stays, such as a model that is linked into the program.
    static Result<Model> open_memory(View<unsigned char> data, const Options &options = {})
    {
        return make(options, [&](const pumice_options *opts, pumice_model **out, pumice_error *err) {
            return pumice_model_open_memory(data.data(), data.size(), nullptr, nullptr, opts, out, err);
        });
    }
    /// The same for memory that the model takes over.
    static Result<Model> open_memory(std::vector<unsigned char> &&data, const Options &options = {})
    {
        auto owner = std::make_shared<std::vector<unsigned char>>(std::move(data));
        const View<unsigned char> view(*owner);
        return open_memory(view, [owner = std::move(owner)]() mutable { owner.reset(); }, options);
    }

    /// Opens a model whose bytes a function reads: (std::uint64_t offset, void *to, std::size_t len) fills `len` bytes.
    /// It stops the call by returning false or by throwing, which comes out of this call; and it is used during this
    /// call only.
    template <class F>
    static Result<Model> open_reader(F &&read, std::uint64_t size, const Options &options = {})
    {
        return make(options, [&](const pumice_options *opts, pumice_model **out, pumice_error *err) {
            const void *function = std::addressof(read);
            return pumice_model_open_reader(
                call_read<std::remove_reference_t<F>>, const_cast<void *>(function), size, opts, out, err);
        });
    }

    Model(const Model &other) noexcept : handle_(pumice_model_ref(other.handle_.get())) {}
    Model(Model &&) noexcept = default;
    Model &operator=(const Model &other) noexcept { return *this = Model(other); }
    Model &operator=(Model &&) noexcept = default;
    ~Model() = default;

    /// A number by its name: "n_vocab", "n_ctx_train", "memory.weights" and what else pumice_model_get_int lists.
    Result<std::int64_t> get_int(const std::string &name) const
    {
        detail::Call call;
        std::int64_t out = 0;
        call.then(pumice_model_get_int(get(), name.c_str(), &out, call.err()));
        return call.result(std::move(out));
    }
    /// A text by its name: "arch" or "quant". Lives as long as the model.
    Result<std::string_view> get_string(const std::string &name) const
    {
        return lent([&](const char **out, std::size_t *len, pumice_error *err) {
            return pumice_model_get_string(get(), name.c_str(), out, len, err);
        });
    }

    /// What a session with these options will take, in bytes: "weights", "kv", "scratch" or "total".
    Result<std::int64_t> memory(const std::string &name, const Options &options = {}) const
    {
#if defined(PUMICE_NO_EXCEPTIONS)
        if (options.error())
            return *options.error();
#endif
        detail::Call call;
        std::int64_t out = 0;
        call.then(pumice_model_memory(get(), options.get(), name.c_str(), &out, call.err()));
        return call.result(std::move(out));
    }

    /// How many metadata keys the file has, and the name of each, which lives as long as the model.
    Result<std::size_t> meta_count() const
    {
        detail::Call call;
        std::size_t out = 0;
        call.then(pumice_model_meta_count(get(), &out, call.err()));
        return call.result(std::move(out));
    }
    Result<std::string_view> meta_key(std::size_t index) const
    {
        return lent([&](const char **out, std::size_t *len, pumice_error *err) {
            return pumice_model_meta_key(get(), index, out, len, err);
        });
    }
    /// Metadata values: Status::not_found if the key or the element is not there, Status::wrong_type if it is of
    /// another type. A truth value is an integer. A string may be any bytes, and lives as long as the model.
    Result<MetaType> meta_type(const std::string &key) const
    {
        detail::Call call;
        std::int32_t type = 0;
        MetaType out{};
        call.then(pumice_model_meta_type(get(), key.c_str(), &type, &out.count, call.err()));
        out.element = type & ~PUMICE_META_ARRAY;
        out.array = (type & PUMICE_META_ARRAY) != 0;
        return call.result(std::move(out));
    }
    Result<std::int64_t> meta_int(const std::string &key, std::size_t index = 0) const
    {
        detail::Call call;
        std::int64_t out = 0;
        call.then(pumice_model_meta_int(get(), key.c_str(), index, &out, call.err()));
        return call.result(std::move(out));
    }
    Result<double> meta_float(const std::string &key, std::size_t index = 0) const
    {
        detail::Call call;
        double out = 0;
        call.then(pumice_model_meta_float(get(), key.c_str(), index, &out, call.err()));
        return call.result(std::move(out));
    }
    Result<std::string_view> meta_string(const std::string &key, std::size_t index = 0) const
    {
        return lent([&](const char **out, std::size_t *len, pumice_error *err) {
            return pumice_model_meta_string(get(), key.c_str(), index, out, len, err);
        });
    }

    /// The names of the classification head's classes; none without a head.
    Result<std::vector<std::string>> labels() const
    {
        detail::Call call;
        std::int64_t count = 0;
        std::vector<std::string> out;
        bool good = call.then(pumice_model_get_int(get(), "n_labels", &count, call.err()));
        while (good && static_cast<std::int64_t>(out.size()) < count) {
            const char *text = nullptr;
            std::size_t len = 0;
            good = call.then(pumice_model_label(get(), out.size(), &text, &len, call.err()));
            if (good)
                out.emplace_back(text, len);
        }
        return call.result(std::move(out));
    }

    /// Cuts text into tokens. `flags`: add_special, parse_special or both; leave parse_special off for text from people
    /// who should not be able to forge control tokens.
    Result<std::vector<Token>> tokenize(std::string_view text, std::int32_t flags = add_special) const
    {
        detail::Call call;
        std::vector<Token> out;
        detail::fill(call, out, [&](Token *tokens, std::size_t cap, std::size_t *count) {
            return pumice_model_tokenize(get(), text.data(), text.size(), flags, tokens, cap, count, call.err());
        });
        return call.result(std::move(out));
    }
    /// The text of tokens: bytes, which end inside a character if the tokens do. `special` shows control tokens.
    Result<std::string> detokenize(Tokens tokens, bool special = false) const
    {
        detail::Call call;
        std::string out;
        const std::int32_t flags = special ? PUMICE_DETOKENIZE_SPECIAL : 0;
        detail::fill(call, out, [&](char *buf, std::size_t cap, std::size_t *len) {
            return pumice_model_detokenize(get(), tokens.data(), tokens.size(), flags, buf, cap, len, call.err());
        });
        return call.result(std::move(out));
    }
    /// A token's name in the vocabulary, any bytes. Lives as long as the model.
    Result<std::string_view> token_text(Token token) const
    {
        return lent([&](const char **out, std::size_t *len, pumice_error *err) {
            return pumice_model_token_text(get(), token, out, len, err);
        });
    }
    /// PUMICE_TOKEN_* added together.
    Result<std::int32_t> token_flags(Token token) const
    {
        detail::Call call;
        std::int32_t out = 0;
        call.then(pumice_model_token_flags(get(), token, &out, call.err()));
        return call.result(std::move(out));
    }
    /// The token with a role, if the model has one: "bos", "eos", "eot" and what else pumice_model_special_token lists.
    Result<std::optional<Token>> special_token(const std::string &role) const
    {
        detail::Call call;
        Token token = -1;
        call.then(pumice_model_special_token(get(), role.c_str(), &token, call.err()));
        return call.result(token >= 0 ? std::optional<Token>(token) : std::optional<Token>());
    }

    /// Writes a conversation out as the text that the model continues, with its own chat template or another one; with
    /// `answer`, up to where the assistant's answer begins. Tokenize it with add_special and parse_special.
    /// Status::not_found if the model has no template, Status::syntax if it cannot be parsed, Status::invalid if it
    /// refuses the messages.
    Result<std::string> chat_format(const std::vector<Message> &messages, bool answer = true,
        const std::optional<std::string> &chat_template = std::nullopt) const
    {
        detail::Call call;
        std::vector<const char *> roles, contents;
        for (const Message &message : messages) {
            roles.push_back(message.role.c_str());
            contents.push_back(message.content.c_str());
        }
        std::string out;
        detail::fill(call, out, [&](char *buf, std::size_t cap, std::size_t *len) {
            return pumice_model_chat_format(get(), chat_template ? chat_template->c_str() : nullptr, roles.data(),
                contents.data(), messages.size(), answer ? PUMICE_CHAT_GENERATION_PROMPT : 0, buf, cap, len,
                call.err());
        });
        return call.result(std::move(out));
    }
    /// The same for conversations that are more than roles and texts: a JSON object whose members become the template's
    /// variables: "messages", "tools", "add_generation_prompt", and any other that the template knows.
    Result<std::string> chat_format_json(
        std::string_view json, const std::optional<std::string> &chat_template = std::nullopt) const
    {
        detail::Call call;
        std::string out;
        detail::fill(call, out, [&](char *buf, std::size_t cap, std::size_t *len) {
            return pumice_model_chat_format_json(get(), chat_template ? chat_template->c_str() : nullptr, json.data(),
                json.size(), buf, cap, len, call.err());
        });
        return call.result(std::move(out));
    }

    const pumice_model *get() const noexcept { return handle_.get(); }

private:

    explicit Model(pumice_model *handle) noexcept : handle_(handle) {}

    template <class F>
    static Result<Model> make(const Options &options, F open)
    {
#if defined(PUMICE_NO_EXCEPTIONS)
        if (options.error())
            return *options.error();
#endif
        detail::Call call;
        pumice_model *handle = nullptr;
        call.then(open(options.get(), &handle, call.err()));
        return call.result(Model(handle));
    }

    template <class F>
    Result<std::string_view> lent(F read) const
    {
        detail::Call call;
        const char *out = nullptr;
        std::size_t len = 0;
        call.then(read(&out, &len, call.err()));
        return call.result(len > 0 ? std::string_view(out, len) : std::string_view());
    }

    template <class F>
    static std::int32_t PUMICE_CALL call_read(void *user_data, std::uint64_t offset, void *to, std::size_t len)
    {
        return detail::answer(*static_cast<F *>(user_data), offset, to, len) ? PUMICE_CONTINUE : 0;
    }

    template <class F>
    static void PUMICE_CALL call_drop(void *user_data)
    {
        std::unique_ptr<F> holder(static_cast<F *>(user_data));
        (*holder)();
    }

    detail::Handle<pumice_model, pumice_model_free> handle_;
};

/// Which tokens of a run get an output.
enum class Outputs : std::int32_t { none = PUMICE_OUTPUTS_NONE, last = PUMICE_OUTPUTS_LAST, all = PUMICE_OUTPUTS_ALL };

/// Runs of tokens of several sequences, to be decoded together.
class Batch {
public:
    Batch()
    {
        detail::Call call;
        pumice_batch *handle = nullptr;
        call.then(pumice_batch_new(&handle, call.err()));
        handle_.reset(handle);
#if !defined(PUMICE_NO_EXCEPTIONS)
        call.result();
#endif
    }

    /// Adds a run that extends sequence `seq`. The tokens are copied.
    Result<void> add(Seq seq, Tokens tokens, Outputs outputs = Outputs::last)
    {
        detail::Call call;
        call.then(pumice_batch_add(
            handle_.get(), seq, tokens.data(), tokens.size(), static_cast<std::int32_t>(outputs), call.err()));
        return call.result();
    }
    /// Takes all runs out.
    Result<void> clear()
    {
        detail::Call call;
        call.then(pumice_batch_clear(handle_.get(), call.err()));
        return call.result();
    }

    const pumice_batch *get() const noexcept { return handle_.get(); }

private:
    detail::Handle<pumice_batch, pumice_batch_free> handle_;
};

/// Why a generation ended: the model ended its text, there was no more room or number of tokens, a stop text appeared,
/// or the callback returned false.
enum class Finish : std::int32_t {
    end = PUMICE_FINISH_END,
    length = PUMICE_FINISH_LENGTH,
    stop = PUMICE_FINISH_STOP,
    callback = -1,
};

/// A token and the natural logarithm of its probability.
struct TokenLogprob {
    Token token;
    float logprob;
};

class Sampler;
class Stream;

/// Sequences being fed to a model, and the threads that do it. It keeps the model alive.
class Session {
public:
    static Result<Session> create(const Model &model, const Options &options = {})
    {
#if defined(PUMICE_NO_EXCEPTIONS)
        if (options.error())
            return *options.error();
#endif
        detail::Call call;
        pumice_session *handle = nullptr;
        call.then(pumice_session_new(model.get(), options.get(), &handle, call.err()));
        return call.result(Session(model, handle));
    }

    const Model &model() const noexcept { return model_; }

    /// Changes threads, chunk, kernels, memory limit, pooling and normalize to those that are set in the options, from the
    /// next call on.
    Result<void> configure(const Options &options)
    {
#if defined(PUMICE_NO_EXCEPTIONS)
        if (options.error())
            return *options.error();
#endif
        detail::Call call;
        call.then(pumice_session_configure(get(), options.get(), call.err()));
        return call.result();
    }
    /// Forgets all sequences and outputs.
    Result<void> reset()
    {
        detail::Call call;
        call.then(pumice_session_reset(get(), call.err()));
        return call.result();
    }
    /// Makes the call that the session is in fail with Status::cancelled soon. May be called on any thread and in a
    /// signal handler, as long as the session is not being destroyed.
    void cancel() const noexcept { pumice_session_cancel(get()); }

    /// Feeds tokens to sequence 0; afterwards output 0 belongs to the last of them.
    Result<void> decode(Tokens tokens)
    {
        detail::Call call;
        call.then(pumice_session_decode(get(), tokens.data(), tokens.size(), call.err()));
        return call.result();
    }
    /// Feeds all runs of a batch to their sequences; afterwards the outputs that they ask for are there, in order.
    Result<void> decode(const Batch &batch)
    {
        detail::Call call;
        call.then(pumice_session_decode_batch(get(), batch.get(), call.err()));
        return call.result();
    }

    Result<std::size_t> output_count()
    {
        detail::Call call;
        std::size_t out = 0;
        call.then(pumice_session_output_count(get(), &out, call.err()));
        return call.result(std::move(out));
    }
    /// The logits of an output, one for each token of the vocabulary: valid until tokens are fed to the session again,
    /// or it is reset or destroyed.
    Result<View<float>> logits(std::size_t index = 0)
    {
        detail::Call call;
        const float *out = nullptr;
        std::size_t count = 0;
        call.then(pumice_session_logits(get(), index, &out, &count, call.err()));
        return call.result(View<float>(out, count));
    }
    /// The final hidden state of an output, for a session made with Options::embeddings; valid as long as the logits.
    Result<View<float>> embedding(std::size_t index = 0)
    {
        detail::Call call;
        const float *out = nullptr;
        std::size_t count = 0;
        call.then(pumice_session_embedding(get(), index, &out, &count, call.err()));
        return call.result(View<float>(out, count));
    }
    /// The most likely tokens after an output, the most likely first; `count` of them, or all if there are fewer.
    Result<std::vector<TokenLogprob>> top_logprobs(std::size_t count, std::size_t index = 0)
    {
        detail::Call call;
        std::vector<Token> tokens(count);
        std::vector<float> logprobs(count);
        std::vector<TokenLogprob> out;
        std::size_t got = 0;
        if (call.then(pumice_session_top_logprobs(
                get(), index, tokens.data(), logprobs.data(), count, &got, call.err())))
            for (std::size_t i = 0; i < got; i++)
                out.push_back({tokens[i], logprobs[i]});
        return call.result(std::move(out));
    }

    /// A text as a vector: the final hidden states of its tokens, pooled and normalized as Options::pooling and
    /// Options::normalize of the session say: "n_embd" values, or as many for each token, one after the other. All sequences
    /// stay as they are; afterwards there are no outputs.
    Result<std::vector<float>> embed(Tokens tokens)
    {
        detail::Call call;
        std::vector<float> out;
        detail::fill(call, out, [&](float *values, std::size_t cap, std::size_t *len) {
            return pumice_session_embed(get(), tokens.data(), tokens.size(), values, cap, len, call.err());
        });
        return call.result(std::move(out));
    }
    /// What the model's classification head makes of a text: a score for each of Model::labels. They are logits: the
    /// greatest decides, their softmax are the probabilities. Status::invalid without a head; otherwise as embed.
    Result<std::vector<float>> classify(Tokens tokens)
    {
        detail::Call call;
        std::vector<float> out;
        detail::fill(call, out, [&](float *scores, std::size_t cap, std::size_t *len) {
            return pumice_session_classify(get(), tokens.data(), tokens.size(), scores, cap, len, call.err());
        });
        return call.result(std::move(out));
    }
    /// How likely a prompt goes on in each of several ways: the natural logarithm of each continuation's probability
    /// after it. The prompt is fed to sequence 0; what that has in common with it already is not computed again. It is
    /// best tokenized together with each continuation, and cut where those differ. Afterwards there are no outputs.
    Result<std::vector<double>> score(Tokens prompt, const std::vector<std::vector<Token>> &continuations)
    {
        detail::Call call;
        std::vector<const Token *> starts;
        std::vector<std::size_t> counts;
        for (const std::vector<Token> &continuation : continuations) {
            starts.push_back(continuation.data());
            counts.push_back(continuation.size());
        }
        std::vector<double> out(continuations.size());
        call.then(pumice_session_score(get(), prompt.data(), prompt.size(), starts.data(), counts.data(),
            continuations.size(), out.data(), call.err()));
        return call.result(std::move(out));
    }

    /// The tokens that a sequence has been fed.
    Result<std::vector<Token>> tokens(Seq seq = 0)
    {
        detail::Call call;
        std::vector<Token> out;
        detail::fill(call, out, [&](Token *tokens, std::size_t cap, std::size_t *count) {
            return pumice_session_seq_tokens(get(), seq, tokens, cap, count, call.err());
        });
        return call.result(std::move(out));
    }
    /// Forgets all but the first `keep` tokens of a sequence.
    Result<void> truncate(std::size_t keep, Seq seq = 0)
    {
        detail::Call call;
        call.then(pumice_session_seq_truncate(get(), seq, keep, call.err()));
        return call.result();
    }

    /// Makes `to` hold the first `prefix` tokens of `from`, and share its memory for them; what it held is forgotten.
    Result<void> fork(Seq from, Seq to, std::size_t prefix)
    {
        detail::Call call;
        call.then(pumice_session_seq_fork(get(), from, to, prefix, call.err()));
        return call.result();
    }

    /// What the session holds of a sequence, or of all of them, as bytes that save_state has made and load_state takes.
    Result<std::vector<unsigned char>> save_state(Seq seq = all_sequences)
    {
        detail::Call call;
        std::vector<unsigned char> out;
        detail::fill(call, out, [&](void *buf, std::size_t cap, std::size_t *len) {
            return pumice_session_state_save(get(), seq, buf, cap, len, call.err());
        });
        return call.result(std::move(out));
    }
    /// Status::format for bytes that are no state, Status::mismatch for one of another model; the session is then as it
    /// was. Afterwards there are no outputs.
    Result<void> load_state(View<unsigned char> state, Seq seq = all_sequences)
    {
        detail::Call call;
        call.then(pumice_session_state_load(get(), seq, state.data(), state.size(), call.err()));
        return call.result();
    }
    /// The same with a file, which is written whole or not at all.
    Result<void> save_state_file(const std::string &path, Seq seq = all_sequences)
    {
        detail::Call call;
        call.then(pumice_session_state_save_file(get(), seq, path.c_str(), call.err()));
        return call.result();
    }
    Result<void> load_state_file(const std::string &path, Seq seq = all_sequences)
    {
        detail::Call call;
        call.then(pumice_session_state_load_file(get(), seq, path.c_str(), call.err()));
        return call.result();
    }

    /// A number by its name: "n_ctx", "threads", "memory.kv" and what else pumice_session_get_int lists.
    Result<std::int64_t> get_int(const std::string &name)
    {
        detail::Call call;
        std::int64_t out = 0;
        call.then(pumice_session_get_int(get(), name.c_str(), &out, call.err()));
        return call.result(std::move(out));
    }
    /// Sets the "perf." numbers to zero.
    Result<void> perf_reset()
    {
        detail::Call call;
        call.then(pumice_session_perf_reset(get(), call.err()));
        return call.result();
    }

    /// Feeds a prompt to sequence 0, then chooses tokens with the sampler and feeds them in turn, until the text ends.
    /// New text, whole characters, goes to `text`, which takes a std::string_view, or that and the Tokens generated
    /// since the last call; both are valid during the call only. It stops the generation by returning false, or by
    /// throwing, which comes out of this call; if it returns nothing, the generation goes on. It must not use the
    /// session (but for cancel), the sampler or the options.
    ///
    /// Afterwards sequence 0 holds the prompt and all generated tokens but the last one.
    template <class F>
    Result<Finish> generate(Sampler &sampler, Tokens prompt, const Options &options, F &&text);
    template <class F>
    Result<Finish> generate(Sampler &sampler, Tokens prompt, F &&text)
    {
        return generate(sampler, prompt, Options(), std::forward<F>(text));
    }

    /// The same as a range, whose loop says when to stop: pieces of text, whole characters, each valid until the next.
    /// Nothing is computed before the loop begins, nor after it breaks off. The session and the sampler must stay where
    /// they are meanwhile.
    Stream stream(Sampler &sampler, Tokens prompt);

    pumice_session *get() const noexcept { return handle_.get(); }

private:
    Session(const Model &model, pumice_session *handle) noexcept : model_(model), handle_(handle) {}

    Model model_;
    detail::Handle<pumice_session, pumice_session_free> handle_;
};

/// Chooses tokens from logits. It keeps the model alive.
class Sampler {
public:
    static Result<Sampler> create(const Model &model, const Options &options = {})
    {
#if defined(PUMICE_NO_EXCEPTIONS)
        if (options.error())
            return *options.error();
#endif
        detail::Call call;
        pumice_sampler *handle = nullptr;
        call.then(pumice_sampler_new(model.get(), options.get(), &handle, call.err()));
        return call.result(Sampler(handle));
    }

    /// A copy with its history and the state of its random numbers: both go on alike.
    Result<Sampler> clone() const
    {
        detail::Call call;
        pumice_sampler *handle = nullptr;
        call.then(pumice_sampler_clone(handle_.get(), &handle, call.err()));
        return call.result(Sampler(handle));
    }

    /// Replaces the biases: `bias[i]` will be added to the logit of `tokens[i]`. Status::null if there are more of one
    /// than of the other.
    Result<void> set_bias(Tokens tokens, View<float> bias)
    {
        detail::Call call;
        const std::size_t count = tokens.size();
        // The C function takes one length for both.
        call.then(bias.size() == count
                ? pumice_sampler_set_bias(handle_.get(), tokens.data(), bias.data(), count, call.err())
                : pumice_sampler_set_bias(handle_.get(), nullptr, nullptr, count > 0 ? count : 1, call.err()));
        return call.result();
    }
    /// Chooses a token by the logits of a session's output.
    Result<Token> sample(Session &session, std::size_t index = 0)
    {
        detail::Call call;
        Token out = 0;
        call.then(pumice_sampler_sample(handle_.get(), session.get(), index, &out, call.err()));
        return call.result(std::move(out));
    }
    /// Chooses a token by logits of the caller's own, one for each token of the model.
    Result<Token> sample(View<float> logits)
    {
        detail::Call call;
        Token out = 0;
        call.then(pumice_sampler_sample_logits(handle_.get(), logits.data(), logits.size(), &out, call.err()));
        return call.result(std::move(out));
    }
    /// Tells the penalties that the text goes on with this token.
    Result<void> accept(Token token)
    {
        detail::Call call;
        call.then(pumice_sampler_accept(handle_.get(), token, call.err()));
        return call.result();
    }
    /// Forgets the accepted tokens, and goes back to the start of the random numbers.
    Result<void> reset()
    {
        detail::Call call;
        call.then(pumice_sampler_reset(handle_.get(), call.err()));
        return call.result();
    }

    pumice_sampler *get() const noexcept { return handle_.get(); }

private:
    explicit Sampler(pumice_sampler *handle) noexcept : handle_(handle) {}

    detail::Handle<pumice_sampler, pumice_sampler_free> handle_;
};

namespace detail {

/// The callable behind a pumice_text_fn.
template <class F>
struct Text {
    F &function;
    bool stopped;

    static std::int32_t PUMICE_CALL call(
        void *user_data, const char *text, std::size_t len, const Token *tokens, std::size_t count)
    {
        Text &self = *static_cast<Text *>(user_data);
        const std::string_view view = len > 0 ? std::string_view(text, len) : std::string_view();
        bool go_on;
        if constexpr (std::is_invocable_v<F &, std::string_view, Tokens>)
            go_on = answer(self.function, view, Tokens(tokens, count));
        else
            go_on = len == 0 || answer(self.function, view);
        self.stopped = !go_on;
        return go_on ? PUMICE_CONTINUE : 0;
    }
};

/// Bytes into whole characters, as generate does it: what cannot belong to any becomes U+FFFD.
class Characters {
public:
    /// The text that is complete with these bytes.
    std::string push(std::string_view bytes)
    {
        held_.append(bytes);
        std::string out;
        std::size_t at = 0;
        while (at < held_.size()) {
            const auto [length, valid] = next(std::string_view(held_).substr(at));
            if (length == 0)
                break;
            out.append(valid ? std::string_view(held_).substr(at, length) : replacement);
            at += length;
        }
        held_.erase(0, at);
        return out;
    }
    /// The end of the text: a character that was never completed.
    std::string finish()
    {
        const bool begun = !held_.empty();
        held_.clear();
        return std::string(begun ? replacement : std::string_view());
    }

private:
    static constexpr std::string_view replacement = "\xef\xbf\xbd";

    /// The length of the first character and true; of what cannot begin one and false; 0 if the rest is still to come.
    static std::pair<std::size_t, bool> next(std::string_view bytes)
    {
        const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
        const unsigned char lead = byte(0);
        if (lead < 0x80)
            return {1, true};
        const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        if (lead < 0xc2 || lead > 0xf4)
            return {1, false};
        // The second byte keeps out longer spellings than needed, surrogates, and what is beyond U+10FFFF.
        unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        for (std::size_t i = 1; i < length; i++, low = 0x80, high = 0xbf) {
            if (i == bytes.size())
                return {0, true};
            if (byte(i) < low || byte(i) > high)
                return {i, false};
        }
        return {length, true};
    }

    std::string held_;
};

} // namespace detail

/// The text of a generation as a range: see Session::stream. One pass. It ends when the model ends its text or the
/// context is full, which finish() tells; without exceptions also after an error, which error() has.
class Stream {
public:
    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = std::string_view;
        using difference_type = std::ptrdiff_t;
        using pointer = const std::string_view *;
        using reference = std::string_view;

        iterator() noexcept = default;
        std::string_view operator*() const noexcept { return stream_->piece_; }
        iterator &operator++()
        {
            if (!stream_->advance())
                stream_ = nullptr;
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator &a, const iterator &b) noexcept { return a.stream_ == b.stream_; }
        friend bool operator!=(const iterator &a, const iterator &b) noexcept { return a.stream_ != b.stream_; }

    private:
        friend class Stream;
        explicit iterator(Stream *stream) noexcept : stream_(stream) {}

        Stream *stream_ = nullptr;
    };

    /// Feeds the prompt and chooses the first token.
    iterator begin() { return advance() ? iterator(this) : iterator(); }
    iterator end() noexcept { return iterator(); }

    /// Why the text ended, once it has.
    const std::optional<Finish> &finish() const noexcept { return finish_; }
    /// The error that ended the range, without exceptions.
    const std::optional<Error> &error() const noexcept { return error_; }

private:
    friend class Session;

    Stream(Session &session, Sampler &sampler, Tokens prompt)
        : session_(&session), sampler_(&sampler), feed_(prompt.begin(), prompt.end())
    {
    }

    /// Goes on to the next piece of text; false at the end.
    bool advance()
    {
        if (finish_ || error_)
            return false;
        detail::Call call;
        piece_.clear();
        while (piece_.empty() && !finish_)
            if (!step(call)) {
#if defined(PUMICE_NO_EXCEPTIONS)
                error_ = call.error();
#else
                call.result();
#endif
                return false;
            }
        return !piece_.empty();
    }

    /// Feeds what is to be fed and chooses a token.
    bool step(detail::Call &call)
    {
        const bool is_prompt = !begun_;
        if (!is_prompt) {
            std::size_t fed = 0;
            std::int64_t n_ctx = 0;
            if (!call.then(pumice_session_seq_tokens(session_->get(), 0, nullptr, 0, &fed, call.err()))
                || !call.then(pumice_session_get_int(session_->get(), "n_ctx", &n_ctx, call.err())))
                return false;
            if (fed == static_cast<std::size_t>(n_ctx))
                return end_with(Finish::length);
        }
        if (!call.then(pumice_session_decode(session_->get(), feed_.data(), feed_.size(), call.err())))
            return false;
        begun_ = true;
        if (is_prompt)
            for (const Token token : feed_)
                if (!call.then(pumice_sampler_accept(sampler_->get(), token, call.err())))
                    return false;

        Token token = 0;
        std::int32_t flags = 0;
        const pumice_model *model = session_->model().get();
        if (!call.then(pumice_sampler_sample(sampler_->get(), session_->get(), 0, &token, call.err()))
            || !call.then(pumice_sampler_accept(sampler_->get(), token, call.err()))
            || !call.then(pumice_model_token_flags(model, token, &flags, call.err())))
            return false;
        if ((flags & PUMICE_TOKEN_END) != 0)
            return end_with(Finish::end);
        feed_.assign(1, token);
        std::string bytes;
        if (!detail::fill(call, bytes, [&](char *buf, std::size_t cap, std::size_t *len) {
                return pumice_model_detokenize(model, &token, 1, 0, buf, cap, len, call.err());
            }))
            return false;
        piece_ = characters_.push(bytes);
        return true;
    }

    bool end_with(Finish finish)
    {
        finish_ = finish;
        piece_ = characters_.finish();
        return true;
    }

    Session *session_;
    Sampler *sampler_;
    std::vector<Token> feed_;
    bool begun_ = false;
    detail::Characters characters_;
    std::string piece_;
    std::optional<Finish> finish_;
    std::optional<Error> error_;
};

template <class F>
Result<Finish> Session::generate(Sampler &sampler, Tokens prompt, const Options &options, F &&text)
{
#if defined(PUMICE_NO_EXCEPTIONS)
    if (options.error())
        return *options.error();
#endif
    detail::Call call;
    detail::Text<std::remove_reference_t<F>> state{text, false};
    std::int32_t finish = 0;
    const pumice_status status = pumice_session_generate(get(), sampler.get(), prompt.data(), prompt.size(),
        options.get(), detail::Text<std::remove_reference_t<F>>::call, &state, &finish, call.err());
    call.then(status);
#if !defined(PUMICE_NO_EXCEPTIONS)
    const bool threw = detail::thrown() != nullptr;
#else
    constexpr bool threw = false;
#endif
    if (state.stopped && !threw && status == PUMICE_ERR_CANCELLED) {
        call.then(PUMICE_OK);
        return call.result(Finish::callback);
    }
    return call.result(static_cast<Finish>(finish));
}

inline Stream Session::stream(Sampler &sampler, Tokens prompt) { return Stream(*this, sampler, prompt); }

} // inline namespace
} // namespace pumice

#endif // PUMICE_HPP
