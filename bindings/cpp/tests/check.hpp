// What all test programs use: NAME MODEL. They write nothing unless a check fails.

#ifndef CHECK_HPP
#define CHECK_HPP

#include <pumice.hpp>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);      \
            std::exit(1);                                                             \
        }                                                                             \
    } while (0)

#if !defined(PUMICE_NO_EXCEPTIONS)
/// The status that a call fails with.
template <class F>
pumice::Status failure(F call)
{
    try {
        call();
    } catch (const pumice::Error &error) {
        CHECK(!error.message().empty() && error.what() == error.message());
        return error.status();
    }
    return pumice::Status::ok;
}

#define FAILS(status, call) CHECK(failure([&] { call; }) == pumice::Status::status)
#endif

inline std::vector<unsigned char> bytes_of(const char *path)
{
    std::ifstream file(path, std::ios::binary);
    return std::vector<unsigned char>(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

#endif
