// Finding the simplex of a point (Adams, Baek and Davis 2010, section 3.1), sixteen points at a time.
//
// Compiled once for each kind of processor, without fused multiply-adds: they would round otherwise than NumPy does, and
// put a point into another simplex.

#include <cmath>

#include "lanes.hpp"
#include "variants.hpp"

namespace atrous {
namespace ATROUS_VARIANT {

Range range(const float* values, std::size_t count) {
    Range range{values[0], values[0], true};
    Floats low = all<Floats>(values[0]), high = low, wrong = all<Floats>(0.0f);
    std::size_t place = 0;
    for (; place + lanes <= count; place += lanes) {
        const Floats value = load<Floats>(values + place);
        low = smaller(value, low);
        high = larger(value, high);
        wrong += value - value;  // NaN for NaN and infinity, else 0
    }
    float sum = 0.0f;
    for (int lane = 0; lane < lanes; ++lane) {
        range.low = low[lane] < range.low ? low[lane] : range.low;
        range.high = high[lane] > range.high ? high[lane] : range.high;
        sum += wrong[lane];
    }
    for (; place < count; ++place) {
        range.low = values[place] < range.low ? values[place] : range.low;
        range.high = values[place] > range.high ? values[place] : range.high;
        sum += values[place] - values[place];
    }
    range.finite = sum == 0.0f;
    return range;
}

template <int dimensions>
struct Simplex {
    static constexpr int corners = dimensions + 1;
    Ints rounded[corners];      // the coordinates of the vertex with remainder 0, divided by `corners`
    Ints rank[corners];         // the order of the differences to it, the largest first
    Floats sorted[corners];     // the differences in that order, divided by `corners`
};

// Into the plane in which the coordinates sum to zero.
template <int dimensions>
inline void elevate(const float* features, std::size_t points, std::size_t first, int count, Floats* elevated) {
    // Rounded to single precision first, as the peers do: a point on the border of two simplices else falls into the other.
    const double spread = static_cast<float>((dimensions + 1) * std::sqrt(2.0 / 3.0));
    Floats sum = all<Floats>(0.0f);
    for (int axis = dimensions; axis > 0; --axis) {
        const float* from = features + (axis - 1) * points + first;
        float rest[lanes] = {};
        if (count < lanes) {
            for (int lane = 0; lane < count; ++lane) rest[lane] = from[lane];
            from = rest;
        }
        const float scale = static_cast<float>(spread / std::sqrt(static_cast<double>(axis) * (axis + 1)));
        const Floats scaled = load<Floats>(from) * scale;
        elevated[axis] = sum - scaled * static_cast<float>(axis);
        sum += scaled;
    }
    elevated[0] = sum;
}

template <int dimensions>
inline Simplex<dimensions> enclosing(const Floats* elevated) {
    constexpr int corners = dimensions + 1;
    Simplex<dimensions> simplex;
    Floats difference[corners];
    Ints sum = all<Ints>(0);
    for (int axis = 0; axis < corners; ++axis) {
        const Floats nearest = (elevated[axis] * (1.0f / corners) + rounder) - rounder;
        simplex.rounded[axis] = converted<Ints>(nearest);
        sum += simplex.rounded[axis];
        difference[axis] = elevated[axis] - nearest * static_cast<float>(corners);
        simplex.rank[axis] = all<Ints>(0);
    }
    for (int axis = 0; axis < dimensions; ++axis)
        for (int other = axis + 1; other < corners; ++other) {
            const Ints less = difference[axis] < difference[other];  // -1 where it is
            simplex.rank[axis] -= less;
            simplex.rank[other] += less + 1;
        }
    // Where the rounded coordinates do not sum to zero, those that moved farthest go back by one.
    for (int axis = 0; axis < corners; ++axis) {
        const Ints rank = simplex.rank[axis] + sum;
        const Ints back = (rank > all<Ints>(dimensions)) - (rank < all<Ints>(0));
        simplex.rank[axis] = rank + back * corners;
        simplex.rounded[axis] += back;
        difference[axis] = (difference[axis] - converted<Floats>(back) * static_cast<float>(corners)) * (1.0f / corners);
    }
    for (int place = 0; place < corners; ++place) {
        Floats found = all<Floats>(0.0f);
        for (int axis = 0; axis < corners; ++axis)
            found = chosen(simplex.rank[axis] == all<Ints>(place), difference[axis], found);
        simplex.sorted[place] = found;
    }
    return simplex;
}

inline Keys wide(const Ints& lanes16, int half) {
    HalfInts part;
    std::memcpy(&part, reinterpret_cast<const char*>(&lanes16) + half * sizeof part, sizeof part);
    return converted<Keys>(part);
}

template <int dimensions>
inline void write_keys(const Simplex<dimensions>& simplex, const Packing& packing, std::uint64_t* keys) {
    for (int half = 0; half < 2; ++half) {
        Keys key = all<Keys>(packing.origin);
        for (int axis = 0; axis < dimensions; ++axis) key += wide(simplex.rounded[axis], half) << packing.shift[axis];
        store(key, keys + 8 * half);
        for (int corner = 0; corner < dimensions; ++corner) {
            key += all<Keys>(packing.remainder);
            for (int axis = 0; axis < dimensions; ++axis) {
                const Ints turns = simplex.rank[axis] == all<Ints>(dimensions - corner);
                key -= wide(turns, half) & all<Keys>(packing.unit[axis]);
            }
            store(key, keys + (corner + 1) * lanes + 8 * half);
        }
    }
}

template <int dimensions>
void find(const float* features, std::size_t points, std::size_t first, int count, const Packing& packing,
          std::uint64_t* keys, float* weights) {
    constexpr int corners = dimensions + 1;
    Floats elevated[corners];
    elevate<dimensions>(features, points, first, count, elevated);
    const Simplex<dimensions> simplex = enclosing<dimensions>(elevated);
    write_keys<dimensions>(simplex, packing, keys);
    store((simplex.sorted[dimensions] - simplex.sorted[0]) + 1.0f, weights);
    for (int corner = 1; corner < corners; ++corner)
        store(simplex.sorted[dimensions - corner] - simplex.sorted[corners - corner], weights + corner * lanes);
}

void simplices(const float* features, std::size_t points, std::size_t first, int count, const Packing& packing,
               std::uint64_t* keys, float* weights) {
    switch (packing.dimensions) {
#define ATROUS_CASE(d) case d: return find<d>(features, points, first, count, packing, keys, weights);
        ATROUS_CASE(1) ATROUS_CASE(2) ATROUS_CASE(3) ATROUS_CASE(4)
        ATROUS_CASE(5) ATROUS_CASE(6) ATROUS_CASE(7) ATROUS_CASE(8)
        ATROUS_CASE(9) ATROUS_CASE(10) ATROUS_CASE(11) ATROUS_CASE(12)
        ATROUS_CASE(13) ATROUS_CASE(14) ATROUS_CASE(15) ATROUS_CASE(16)
#undef ATROUS_CASE
    }
}

}  // namespace ATROUS_VARIANT
}  // namespace atrous
