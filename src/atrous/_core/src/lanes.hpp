#pragma once

// Sixteen or eight numbers at a time. Included by the files that are compiled once for each kind of processor, inside
// the namespace of that kind: nothing here, and no template of the standard library that is instantiated there, may be
// shared between two of them.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#endif

namespace atrous {
namespace ATROUS_VARIANT {

#if defined(__GNUC__) && !defined(ATROUS_PLAIN_LANES)

typedef float Floats __attribute__((vector_size(64)));
typedef float HalfFloats __attribute__((vector_size(32)));
typedef std::int32_t Ints __attribute__((vector_size(64)));
typedef std::int32_t HalfInts __attribute__((vector_size(32)));
typedef std::uint32_t Words __attribute__((vector_size(64)));
typedef std::uint32_t HalfWords __attribute__((vector_size(32)));
typedef std::uint64_t Keys __attribute__((vector_size(64)));

template <typename To, typename From>
inline To converted(const From& from) {
    return __builtin_convertvector(from, To);
}

template <typename Mask, typename Value>
inline Value chosen(const Mask& mask, const Value& yes, const Value& no) {
    return mask ? yes : no;
}

#else

// What the compiler's own vectors do, in loops: comparisons give -1 for true and 0 for false.
template <typename T, int lanes>
struct Pack {
    T at[lanes];
    T& operator[](int lane) { return at[lane]; }
    const T& operator[](int lane) const { return at[lane]; }
};

typedef Pack<float, 16> Floats;
typedef Pack<float, 8> HalfFloats;
typedef Pack<std::int32_t, 16> Ints;
typedef Pack<std::int32_t, 8> HalfInts;
typedef Pack<std::uint32_t, 16> Words;
typedef Pack<std::uint32_t, 8> HalfWords;
typedef Pack<std::uint64_t, 8> Keys;

#define ATROUS_OPERATOR(op)                                                                        \
    template <typename T, int n>                                                                   \
    inline Pack<T, n> operator op(Pack<T, n> left, const Pack<T, n>& right) {                      \
        for (int lane = 0; lane < n; ++lane) left[lane] = left[lane] op right[lane];               \
        return left;                                                                               \
    }                                                                                              \
    template <typename T, int n>                                                                   \
    inline Pack<T, n> operator op(Pack<T, n> left, T right) {                                      \
        for (int lane = 0; lane < n; ++lane) left[lane] = left[lane] op right;                     \
        return left;                                                                               \
    }                                                                                              \
    template <typename T, int n>                                                                   \
    inline Pack<T, n>& operator op##=(Pack<T, n>& left, const Pack<T, n>& right) {                 \
        return left = left op right;                                                               \
    }
ATROUS_OPERATOR(+)
ATROUS_OPERATOR(-)
ATROUS_OPERATOR(*)
ATROUS_OPERATOR(/)
ATROUS_OPERATOR(&)
ATROUS_OPERATOR(|)
#undef ATROUS_OPERATOR

#define ATROUS_COMPARISON(op)                                                                      \
    template <typename T, int n>                                                                   \
    inline Pack<std::int32_t, n> operator op(const Pack<T, n>& left, const Pack<T, n>& right) {    \
        Pack<std::int32_t, n> mask;                                                                \
        for (int lane = 0; lane < n; ++lane) mask[lane] = left[lane] op right[lane] ? -1 : 0;      \
        return mask;                                                                               \
    }
ATROUS_COMPARISON(<)
ATROUS_COMPARISON(>)
ATROUS_COMPARISON(==)
#undef ATROUS_COMPARISON

template <typename T, int n>
inline Pack<T, n> operator<<(Pack<T, n> left, int right) {
    for (int lane = 0; lane < n; ++lane) left[lane] = static_cast<T>(static_cast<std::uint64_t>(left[lane]) << right);
    return left;
}
template <typename T, int n>
inline Pack<T, n> operator>>(Pack<T, n> left, int right) {
    for (int lane = 0; lane < n; ++lane) left[lane] >>= right;
    return left;
}

template <typename To, typename From>
inline To converted(const From& from) {
    To to;
    const int lanes = sizeof(to.at) / sizeof(to.at[0]);
    for (int lane = 0; lane < lanes; ++lane) to[lane] = static_cast<typename std::remove_reference<decltype(to[0])>::type>(from[lane]);
    return to;
}

template <typename Mask, typename Value>
inline Value chosen(const Mask& mask, const Value& yes, Value no) {
    const int lanes = sizeof(mask.at) / sizeof(mask.at[0]);
    for (int lane = 0; lane < lanes; ++lane)
        if (mask[lane]) no[lane] = yes[lane];
    return no;
}

#endif

template <typename Vector, typename Element>
inline Vector load(const Element* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <typename Vector, typename Element>
inline void store(const Vector& vector, Element* to) {
    std::memcpy(to, &vector, sizeof vector);
}

template <typename Vector, typename Element>
inline Vector all(Element value) {
    Vector vector;
    for (unsigned lane = 0; lane < sizeof vector / sizeof value; ++lane) vector[lane] = value;
    return vector;
}

template <typename To, typename From>
inline To bits(const From& from) {
    To to;
    static_assert(sizeof to == sizeof from, "as many bits");
    std::memcpy(&to, &from, sizeof to);
    return to;
}

template <typename Vector>
inline Vector larger(const Vector& left, const Vector& right) {
    return chosen(left > right, left, right);
}

template <typename Vector>
inline Vector smaller(const Vector& left, const Vector& right) {
    return chosen(left < right, left, right);
}

inline HalfFloats low_half(const Floats& x) {
    HalfFloats low;
    std::memcpy(&low, &x, sizeof low);
    return low;
}

inline HalfFloats high_half(const Floats& x) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
    return bits<HalfFloats>(_mm512_extractf32x8_ps(bits<__m512>(x), 1));  // others would go through memory
#else
    HalfFloats high;
    std::memcpy(&high, reinterpret_cast<const char*>(&x) + sizeof high, sizeof high);
    return high;
#endif
}

inline float sum_of(const HalfFloats& x) {
    return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7]));
}
inline float sum_of(const Floats& x) { return sum_of(low_half(x) + high_half(x)); }

inline float largest_of(const HalfFloats& x) {
    float largest = x[0];
    for (int lane = 1; lane < 8; ++lane) largest = x[lane] > largest ? x[lane] : largest;
    return largest;
}

inline std::size_t least(std::size_t left, std::size_t right) { return left < right ? left : right; }

constexpr float lowest = -3.4028235e38f;

// Adding this rounds a float of less than 2^22 to a whole number, which then stands in the lowest bits.
constexpr float rounder = 12582912.0f;

template <typename F>
struct WordsOf;
template <>
struct WordsOf<Floats> {
    typedef Words type;
};
template <>
struct WordsOf<HalfFloats> {
    typedef HalfWords type;
};

// e^x to a relative error of 2e-7 for x <= 80, and any number above. Below -50 it stays at e^-50: smaller products would be denormal, and
// those take a hundred times as long.
template <typename F>
inline F exponential(F x) {
    typedef typename WordsOf<F>::type W;
    x = larger(x, all<F>(-50.0f));
    const F shifted = x * 1.44269504f + rounder;
    const F fraction = x * 1.44269504f - (shifted - rounder);
    F power = fraction * 0.0013276472f + 0.009675541f;  // the best fifth-degree polynomial for 2^x on -1/2..1/2
    power = power * fraction + 0.05550713f;
    power = power * fraction + 0.2402212f;
    power = power * fraction + 0.69314694f;
    power = power * fraction + 1.0000001f;
    return bits<F>(bits<W>(power) + (bits<W>(shifted) << 23));
}

// The natural logarithm of normal positive numbers, to an error of 2e-7.
inline Floats logarithm(const Floats& x) {
    const Ints whole = bits<Ints>(x);
    const Ints exponent = ((whole - 0x3f3504f3) >> 23);  // so that the mantissa lies in sqrt(1/2)..sqrt(2)
    const Floats mantissa = bits<Floats>(whole - (exponent << 23));
    const Floats ratio = (mantissa - 1.0f) / (mantissa + 1.0f), square = ratio * ratio;
    Floats series = square * 0.1111111f + 0.14285715f;
    series = series * square + 0.2f;
    series = series * square + 0.33333334f;
    series = series * square + 1.0f;
    return converted<Floats>(exponent) * 0.6931472f + ratio * series * 2.0f;
}

}  // namespace ATROUS_VARIANT
}  // namespace atrous
