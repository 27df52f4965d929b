#pragma once

// A row of values, one per label or channel, in registers. See lanes.hpp for where this may be included.

#include "lanes.hpp"
#include "variants.hpp"

#if defined(__GNUC__)
#define ATROUS_READ_SOON(address) __builtin_prefetch(address, 0)
#define ATROUS_WRITE_SOON(address) __builtin_prefetch(address, 1)
#else
#define ATROUS_READ_SOON(address)
#define ATROUS_WRITE_SOON(address)
#endif

namespace atrous {
namespace ATROUS_VARIANT {

// The largest value of many rows, of any number of groups.
struct Most {
    Floats wide = all<Floats>(lowest);
    HalfFloats narrow = all<HalfFloats>(lowest);

    template <typename AnyRow>
    ATROUS_INLINE void see(const AnyRow& row) {
        for (int pair = 0; pair < AnyRow::pairs; ++pair) wide = larger(wide, row.wide[pair]);
        if (AnyRow::odd) narrow = larger(narrow, row.narrow);
    }
    ATROUS_INLINE float value() const { return largest_of(larger(larger(low_half(wide), high_half(wide)), narrow)); }
};

// `groups` times eight values: as many registers of sixteen as there are, and one of eight where that leaves a rest.
template <int groups>
struct Row {
    static constexpr int pairs = groups / 2, odd = groups % 2;
    Floats wide[pairs > 0 ? pairs : 1];
    HalfFloats narrow;

    ATROUS_INLINE void clear() {
        set(0.0f);
    }
    ATROUS_INLINE void set(float value) {
        for (int pair = 0; pair < pairs; ++pair) wide[pair] = all<Floats>(value);
        if (odd) narrow = all<HalfFloats>(value);
    }
    ATROUS_INLINE void load(const float* from) {
        std::memcpy(wide, from, pairs * sizeof(Floats));
        if (odd) std::memcpy(&narrow, from + pairs * 16, sizeof narrow);
    }
    ATROUS_INLINE void store(float* to) const {
        std::memcpy(to, wide, pairs * sizeof(Floats));
        if (odd) std::memcpy(to + pairs * 16, &narrow, sizeof narrow);
    }
    ATROUS_INLINE void add(float weight, const float* from) {
        for (int pair = 0; pair < pairs; ++pair)
            wide[pair] += ATROUS_VARIANT::load<Floats>(from + pair * 16) * weight;
        if (odd) narrow += ATROUS_VARIANT::load<HalfFloats>(from + pairs * 16) * weight;
    }
    ATROUS_INLINE void add_to(float weight, float* to) const {
        for (int pair = 0; pair < pairs; ++pair)
            ATROUS_VARIANT::store(ATROUS_VARIANT::load<Floats>(to + pair * 16) + wide[pair] * weight, to + pair * 16);
        if (odd)
            ATROUS_VARIANT::store(ATROUS_VARIANT::load<HalfFloats>(to + pairs * 16) + narrow * weight, to + pairs * 16);
    }
    ATROUS_INLINE void add(float weight, const Row& other) {
        for (int pair = 0; pair < pairs; ++pair) wide[pair] += other.wide[pair] * weight;
        if (odd) narrow += other.narrow * weight;
    }
    ATROUS_INLINE void multiply(const Row& other) {
        for (int pair = 0; pair < pairs; ++pair) wide[pair] *= other.wide[pair];
        if (odd) narrow *= other.narrow;
    }
    ATROUS_INLINE void scale(float factor) {
        for (int pair = 0; pair < pairs; ++pair) wide[pair] = wide[pair] * factor;
        if (odd) narrow = narrow * factor;
    }
    ATROUS_INLINE float largest() const {
        Most most;
        most.see(*this);
        return most.value();
    }
    // The exponential of every value, and their sum.
    ATROUS_INLINE float exponentials() {
        HalfFloats sum = all<HalfFloats>(0.0f);
        if (odd) sum = narrow = exponential(narrow);
        if (pairs > 0) {
            Floats total = wide[0] = exponential(wide[0]);
            for (int pair = 1; pair < pairs; ++pair) total += wide[pair] = exponential(wide[pair]);
            sum += low_half(total) + high_half(total);
        }
        return sum_of(sum);
    }
#if defined(__F16C__)
    ATROUS_INLINE void load_half(const std::uint16_t* from) {
        for (int pair = 0; pair < pairs; ++pair) wide[pair] = widened(from + pair * 16);
        if (odd) narrow = half_widened(from + pairs * 16);
    }
    ATROUS_INLINE void store_half(std::uint16_t* to) const {
        for (int pair = 0; pair < pairs; ++pair) narrowed(wide[pair], to + pair * 16);
        if (odd) half_narrowed(narrow, to + pairs * 16);
    }
    ATROUS_INLINE void add_half(float weight, const std::uint16_t* from) {
        for (int pair = 0; pair < pairs; ++pair) wide[pair] += widened(from + pair * 16) * weight;
        if (odd) narrow += half_widened(from + pairs * 16) * weight;
    }

    ATROUS_INLINE static HalfFloats half_widened(const std::uint16_t* from) {
        return bits<HalfFloats>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
    }
    ATROUS_INLINE static void half_narrowed(const HalfFloats& value, std::uint16_t* to) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                         _mm256_cvtps_ph(bits<__m256>(value), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
    ATROUS_INLINE static Floats widened(const std::uint16_t* from) {
#if defined(__AVX512F__)
        return bits<Floats>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#else
        Floats both;
        const HalfFloats low = half_widened(from), high = half_widened(from + 8);
        std::memcpy(&both, &low, sizeof low);
        std::memcpy(reinterpret_cast<char*>(&both) + sizeof low, &high, sizeof high);
        return both;
#endif
    }
    ATROUS_INLINE static void narrowed(const Floats& value, std::uint16_t* to) {
#if defined(__AVX512F__)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                            _mm512_cvtps_ph(bits<__m512>(value), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
        HalfFloats low, high;
        std::memcpy(&low, &value, sizeof low);
        std::memcpy(&high, reinterpret_cast<const char*>(&value) + sizeof low, sizeof high);
        half_narrowed(low, to);
        half_narrowed(high, to + 8);
#endif
    }
#endif
};

}  // namespace ATROUS_VARIANT
}  // namespace atrous
