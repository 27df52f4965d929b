// Building the permutohedral lattice of a set of points: a hash table of vertices for each strip of rows, the strips
// put together, and the chains of neighbours.

#include "lattice.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "strips.hpp"
#include "tables.hpp"
#include "variants.hpp"

namespace atrous {
namespace {

// The vertices of some points in the order in which they were met, and their numbers.
template <typename Table>
class Vertices {
   public:
    void reset(std::size_t expected, int key_bits) {
        key_bits_ = key_bits;
        keys_.clear();
        table_.reset(std::max<std::size_t>(expected, 1024), key_bits);
    }
    // Makes room for so many more; false when they could not be numbered.
    bool reserve(std::size_t more) {
        const std::size_t wanted = keys_.size() + more;
        if (wanted > table_.most_numbers()) return false;
        if (wanted * 5 > table_.capacity() * 2) grow(wanted);
        return true;
    }
    std::int32_t number(std::uint64_t key) {
        const auto next = static_cast<std::int32_t>(keys_.size());
        const std::int32_t found = table_.find_or_add(key, next);
        if (found == next) keys_.push_back(key);
        return found;
    }
    std::int32_t find(std::uint64_t key) const { return table_.find(key); }
    void prefetch(std::uint64_t key) const { table_.prefetch(key); }
    const std::vector<std::uint64_t>& keys() const { return keys_; }
    std::size_t size() const { return keys_.size(); }
    void forget() {
        std::vector<std::uint64_t>().swap(keys_);
        table_ = Table();
    }

   private:
    void grow(std::size_t wanted) {
        std::size_t capacity = table_.capacity();
        while (wanted * 5 > capacity * 2) capacity *= 2;
        table_.reset(capacity, key_bits_);
        for (std::size_t place = 0; place < keys_.size(); ++place) {
            if (place + 16 < keys_.size()) table_.prefetch(keys_[place + 16]);
            table_.find_or_add(keys_[place], static_cast<std::int32_t>(place));
        }
    }
    Table table_;
    std::vector<std::uint64_t> keys_;
    int key_bits_ = 0;
};

// From here on single precision cannot tell neighbours apart, and rounding would not be exact.
constexpr double farthest = 1 << 22;

// The widths of the packed coordinates follow from the ranges of the features; false where even 64 bits do not do.
bool pack(const Range* ranges, int dimensions, Packing& packing) {
    double low[most_dimensions], high[most_dimensions];
    const int corners = dimensions + 1;
    for (int axis = 0; axis < dimensions; ++axis) {
        const double scale = corners * std::sqrt(2.0 / 3.0) / std::sqrt((axis + 1.0) * (axis + 2.0));
        low[axis] = ranges[axis].low * scale;
        high[axis] = ranges[axis].high * scale;
    }
    if (!(dimensions * std::max(std::abs(low[dimensions - 1]), std::abs(high[dimensions - 1])) < farthest)) return false;
    packing = Packing{};
    packing.dimensions = dimensions;
    for (int axis = 0; axis < dimensions; ++axis) {
        double least = axis > 0 ? -axis * high[axis - 1] : 0.0, most = axis > 0 ? -axis * low[axis - 1] : 0.0;
        for (int other = axis; other < dimensions; ++other) {
            least += low[other];
            most += high[other];
        }
        if (!(std::max(std::abs(least), std::abs(most)) < farthest)) return false;
        // Neighbours and the other corners of a simplex lie up to two steps beyond, rounding takes another.
        least = std::floor(least / corners) - 4;
        most = std::ceil(most / corners) + 4;
        int width = 1;
        while (std::ldexp(1.0, width) < most - least + 1) ++width;
        packing.shift[axis] = packing.bits;
        if (packing.bits + width > 63) return false;
        packing.unit[axis] = std::uint64_t{1} << packing.bits;
        packing.origin += static_cast<std::uint64_t>(-static_cast<std::int64_t>(least)) << packing.bits;
        packing.bits += width;
    }
    packing.remainder = std::uint64_t{1} << packing.bits;
    packing.remainder_shift = packing.bits;
    int remainder_bits = 1;
    while ((1 << remainder_bits) < corners + 1) ++remainder_bits;
    packing.bits += remainder_bits;
    return packing.bits <= 63;
}

template <typename Table>
class Builder {
   public:
    Builder(const float* features, const Packing& packing, std::size_t rows, std::size_t width, std::size_t strips,
            LatticeArrays& lattice)
        : features_(features), packing_(packing), corners_(packing.dimensions + 1), rows_(rows), width_(width),
          strips_(strips), lattice_(lattice), found_(strips) {}

    // False where the vertices are too many for the table.
    bool build() {
        std::atomic<bool> fits{true};
        lattice_.vertices = Room<std::int32_t>(rows_ * width_ * corners_);
        lattice_.weights = Room<float>(rows_ * width_ * corners_);
        in_strips_with_memory(rows_, strips_, [&](std::size_t strip, std::size_t begin, std::size_t end) {
            if (!find_simplices(found_[strip], begin, end)) fits = false;
        });
        if (!fits || !join()) return false;
        link();
        return true;
    }

   private:
    bool find_simplices(Vertices<Table>& vertices, std::size_t begin, std::size_t end) {
        vertices.reset((end - begin) * width_ / 2, packing_.bits);
        std::uint64_t last_keys[most_dimensions + 1];
        std::int32_t last_numbers[most_dimensions + 1];
        std::fill_n(last_keys, corners_, empty);
        for (std::size_t top = begin; top < end; top += tile_rows)
            for (std::size_t left = 0; left < width_; left += tile_columns)
                for (std::size_t row = top; row < std::min(end, top + tile_rows); ++row)
                    for (std::size_t column = left; column < std::min(width_, left + tile_columns); column += lanes) {
                        const std::size_t count = std::min({width_ - column, left + tile_columns - column,
                                                            static_cast<std::size_t>(lanes)});
                        if (!find_block(vertices, row * width_ + column, static_cast<int>(count), last_keys,
                                        last_numbers))
                            return false;
                    }
        return true;
    }

    // Neighbouring points share vertices: the last number is asked before the table is.
    bool find_block(Vertices<Table>& vertices, std::size_t first, int count, std::uint64_t* last_keys,
                    std::int32_t* last_numbers) {
        alignas(64) std::uint64_t keys[(most_dimensions + 1) * lanes];
        alignas(64) float weights[(most_dimensions + 1) * lanes];
        kernels().simplices(features_, rows_ * width_, first, count, packing_, keys, weights);
        if (!vertices.reserve(static_cast<std::size_t>(corners_) * lanes)) return false;
        for (int corner = 0; corner < corners_; ++corner)
            for (int lane = 0; lane < count; ++lane) vertices.prefetch(keys[corner * lanes + lane]);
        for (int lane = 0; lane < count; ++lane) {
            std::int32_t* numbers = &lattice_.vertices[(first + lane) * corners_];
            float* own = &lattice_.weights[(first + lane) * corners_];
            for (int corner = 0; corner < corners_; ++corner) {
                own[corner] = weights[corner * lanes + lane];
                const std::uint64_t key = keys[corner * lanes + lane];
                if (key != last_keys[corner]) {
                    last_keys[corner] = key;
                    last_numbers[corner] = vertices.number(key);
                }
                numbers[corner] = last_numbers[corner];
            }
        }
        return true;
    }

    // Gives every vertex to the first strip that has it; later ones get a ghost, at the end of the rows.
    bool join() {
        Vertices<Table>& all = found_[0];
        std::vector<std::vector<std::int32_t>> renumbered(strips_);
        lattice_.ghosts.assign(strips_ + 1, 0);
        for (std::size_t strip = 1; strip < strips_; ++strip) {
            const std::vector<std::uint64_t>& keys = found_[strip].keys();
            if (!all.reserve(keys.size())) return false;
            renumbered[strip].resize(keys.size());
            for (std::size_t place = 0; place < keys.size(); ++place) {
                if (place + 16 < keys.size()) all.prefetch(keys[place + 16]);
                const auto next = static_cast<std::int32_t>(all.size());
                const std::int32_t number = all.number(keys[place]);
                renumbered[strip][place] = number;
                if (number == next) continue;
                renumbered[strip][place] = ~static_cast<std::int32_t>(lattice_.owners.size());
                lattice_.owners.push_back(number);
            }
            lattice_.ghosts[strip + 1] = static_cast<std::int64_t>(lattice_.owners.size());
            found_[strip].forget();
        }
        lattice_.size = all.size();
        if (lattice_.size + lattice_.owners.size() > std::size_t{std::numeric_limits<std::int32_t>::max()}) return false;
        in_strips(rows_, strips_, [&](std::size_t strip, std::size_t begin, std::size_t end) {
            if (strip > 0) renumber(renumbered[strip], begin, end);
        });
        return true;
    }

    void renumber(std::vector<std::int32_t>& numbers, std::size_t begin, std::size_t end) {
        for (std::int32_t& number : numbers)
            if (number < 0) number = static_cast<std::int32_t>(lattice_.size) + ~number;
        const std::size_t stop = end * width_ * corners_;
        for (std::size_t place = begin * width_ * corners_; place < stop; ++place)
            lattice_.vertices[place] = numbers[lattice_.vertices[place]];
    }

    // Finds each vertex's neighbour in the direction of every axis, and lists the chains they form.
    void link() {
        const std::size_t size = lattice_.size;
        Room<std::int32_t> next(corners_ * size);
        std::vector<std::uint8_t> follows(corners_ * size);
        in_strips(size, strips_, [&](std::size_t, std::size_t begin, std::size_t end) {
            find_neighbours(begin, end, next.get(), follows.data());
        });
        found_[0].forget();  // the rest needs no keys, and much memory
        std::vector<std::vector<std::int32_t>> chains(corners_);
        const auto axes = static_cast<std::size_t>(corners_);
        in_strips_with_memory(axes, std::min(strips_, axes), [&](std::size_t, std::size_t begin, std::size_t end) {
            for (std::size_t axis = begin; axis < end; ++axis)
                chains[axis] = chains_of(next.get() + axis * size, follows.data() + axis * size);
        });
        lattice_.axes.assign(1, 0);
        for (const auto& chain : chains)
            lattice_.axes.push_back(lattice_.axes.back() + static_cast<std::int64_t>(chain.size()));
        lattice_.chains.reserve(static_cast<std::size_t>(lattice_.axes.back()));
        for (auto& chain : chains) {
            lattice_.chains.insert(lattice_.chains.end(), chain.begin(), chain.end());
            std::vector<std::int32_t>().swap(chain);
        }
    }

    void find_neighbours(std::size_t begin, std::size_t end, std::int32_t* next, std::uint8_t* follows) const {
        constexpr std::size_t block = 32;
        std::uint64_t steps[most_dimensions + 1];
        for (int axis = 0; axis < corners_; ++axis) steps[axis] = packing_.step(axis);
        const std::vector<std::uint64_t>& keys = found_[0].keys();
        const std::uint64_t wrap = packing_.wrap(), last = static_cast<std::uint64_t>(packing_.dimensions);
        std::uint64_t wanted[block * (most_dimensions + 1)];
        for (std::size_t start = begin; start < end; start += block) {
            const std::size_t stop = std::min(end, start + block);
            std::uint64_t* write = wanted;
            for (std::size_t vertex = start; vertex < stop; ++vertex) {
                const std::uint64_t key = keys[vertex];
                const std::uint64_t from = key >> packing_.remainder_shift == last ? key + wrap : key;
                for (int axis = 0; axis < corners_; ++axis) found_[0].prefetch(*write++ = from + steps[axis]);
            }
            const std::uint64_t* read = wanted;
            for (std::size_t vertex = start; vertex < stop; ++vertex)
                for (int axis = 0; axis < corners_; ++axis) {
                    const std::int32_t found = found_[0].find(*read++);
                    next[axis * lattice_.size + vertex] = found;
                    // Only one vertex has this follower, so no other thread writes here.
                    if (found >= 0) follows[axis * lattice_.size + found] = 1;
                }
        }
    }

    std::vector<std::int32_t> chains_of(const std::int32_t* next, const std::uint8_t* follows) const {
        std::vector<std::int32_t> chains;
        chains.reserve(lattice_.size);
        for (std::size_t vertex = 0; vertex < lattice_.size; ++vertex) {
            if (follows[vertex] || next[vertex] < 0) continue;
            auto link = static_cast<std::int32_t>(vertex);
            for (; next[link] >= 0; link = next[link]) chains.push_back(link);
            chains.push_back(~link);
        }
        return chains;
    }

    const float* features_;
    const Packing& packing_;
    const int corners_;
    const std::size_t rows_, width_, strips_;
    LatticeArrays& lattice_;
    std::vector<Vertices<Table>> found_;
};

}  // namespace

Built build_lattice(const float* features, int dimensions, std::size_t rows, std::size_t width, std::size_t strips,
                    LatticeArrays& lattice) {
    const std::size_t points = rows * width;
    std::vector<Range> ranges(static_cast<std::size_t>(dimensions));
    in_strips(ranges.size(), std::min(strips, ranges.size()), [&](std::size_t, std::size_t begin, std::size_t end) {
        for (std::size_t axis = begin; axis < end; ++axis)
            ranges[axis] = kernels().range(features + axis * points, points);
    });
    for (const Range& range : ranges)
        if (!range.finite) return Built::not_finite;
    if (dimensions > most_dimensions) return Built::too_wide;
    Packing packing;
    if (!pack(ranges.data(), dimensions, packing)) return Built::too_wide;
    if (PackedTable::fits(packing.bits) &&
        Builder<PackedTable>(features, packing, rows, width, strips, lattice).build())
        return Built::yes;
    lattice = LatticeArrays();
    if (WideTable::fits(packing.bits) && Builder<WideTable>(features, packing, rows, width, strips, lattice).build())
        return Built::yes;
    return Built::too_wide;
}

}  // namespace atrous
