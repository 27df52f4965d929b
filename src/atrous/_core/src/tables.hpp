#pragma once

// Hash tables from the key of a vertex to its number.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#if defined(__GNUC__)
#define ATROUS_PREFETCH(address) __builtin_prefetch(address)
#else
#define ATROUS_PREFETCH(address)
#endif

namespace atrous {

// No key and no entry is this.
constexpr std::uint64_t empty = ~std::uint64_t{0};

inline std::size_t home(std::uint64_t key, int shift) {
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15ull) >> shift);
}

// A hash table whose entries are one word: the key above, the vertex's number below. No key is all ones, since the
// remainder, its highest part, never is.
class PackedTable {
   public:
    static bool fits(int key_bits) { return key_bits <= 64 - 20; }

    void reset(std::size_t capacity, int key_bits) {
        number_bits_ = std::min(64 - key_bits, 31);
        shift_ = 64;
        for (std::size_t power = 1; power < capacity; power *= 2) --shift_;
        std::vector<std::uint64_t>().swap(entries_);  // so that the old and the new one are never both there
        entries_.assign(std::size_t{1} << (64 - shift_), empty);
    }
    std::size_t capacity() const { return entries_.size(); }
    // One number less than could be written, so that no entry looks empty.
    std::size_t most_numbers() const { return (std::size_t{1} << number_bits_) - 1; }
    void prefetch(std::uint64_t key) const { ATROUS_PREFETCH(&entries_[home(key, shift_)]); }

    std::int32_t find(std::uint64_t key) const {
        for (std::size_t place = home(key, shift_);; place = (place + 1) & (entries_.size() - 1)) {
            const std::uint64_t entry = entries_[place];
            if (entry >> number_bits_ == key) return number_of(entry);
            if (entry == empty) return -1;
        }
    }
    std::int32_t find_or_add(std::uint64_t key, std::int32_t number) {
        for (std::size_t place = home(key, shift_);; place = (place + 1) & (entries_.size() - 1)) {
            const std::uint64_t entry = entries_[place];
            if (entry >> number_bits_ == key) return number_of(entry);
            if (entry == empty) {
                entries_[place] = key << number_bits_ | static_cast<std::uint64_t>(number);
                return number;
            }
        }
    }

   private:
    std::int32_t number_of(std::uint64_t entry) const {
        return static_cast<std::int32_t>(entry & ((std::uint64_t{1} << number_bits_) - 1));
    }
    std::vector<std::uint64_t> entries_;
    int number_bits_ = 0, shift_ = 64;
};

// The same for wide keys or very many vertices: two words an entry, and slower for it.
class WideTable {
   public:
    static bool fits(int key_bits) { return key_bits <= 63; }

    void reset(std::size_t capacity, int) {
        shift_ = 64;
        for (std::size_t power = 1; power < capacity; power *= 2) --shift_;
        std::vector<Entry>().swap(entries_);
        entries_.assign(std::size_t{1} << (64 - shift_), Entry{empty, -1});
    }
    std::size_t capacity() const { return entries_.size(); }
    std::size_t most_numbers() const { return std::numeric_limits<std::int32_t>::max(); }
    void prefetch(std::uint64_t key) const { ATROUS_PREFETCH(&entries_[home(key, shift_)]); }

    std::int32_t find(std::uint64_t key) const {
        for (std::size_t place = home(key, shift_);; place = (place + 1) & (entries_.size() - 1)) {
            if (entries_[place].key == key) return entries_[place].number;
            if (entries_[place].key == empty) return -1;
        }
    }
    std::int32_t find_or_add(std::uint64_t key, std::int32_t number) {
        for (std::size_t place = home(key, shift_);; place = (place + 1) & (entries_.size() - 1)) {
            if (entries_[place].key == key) return entries_[place].number;
            if (entries_[place].key == empty) {
                entries_[place] = {key, number};
                return number;
            }
        }
    }

   private:
    struct Entry {
        std::uint64_t key;
        std::int32_t number;
    };
    std::vector<Entry> entries_;
    int shift_ = 64;
};

}  // namespace atrous
