#pragma once

#include <cstddef>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace atrous {

// Uninitialised memory for many numbers. Rows of it are read in no order: with pages of 2 MiB, which have to be asked
// for, the processor finds them faster, and the system hands them out with a five-hundredth of the interruptions.
template <typename Element>
class Room {
   public:
    Room() = default;
    explicit Room(std::size_t count) {
        const std::size_t bytes = count * sizeof(Element);
        alignment_ = bytes >= 2 * huge ? huge : 64;
        memory_ = static_cast<Element*>(::operator new(bytes > 0 ? bytes : 1, std::align_val_t(alignment_)));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (alignment_ == huge) madvise(memory_, bytes, MADV_HUGEPAGE);  // only a wish: whether it is granted does not matter
#endif
    }
    Room(Room&& other) noexcept { swap(other); }
    Room& operator=(Room&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Room() {
        if (memory_) ::operator delete(memory_, std::align_val_t(alignment_));
    }
    Element* get() const { return memory_; }
    Element& operator[](std::size_t place) const { return memory_[place]; }
    explicit operator bool() const { return memory_ != nullptr; }

   private:
    static constexpr std::size_t huge = std::size_t{1} << 21;
    void swap(Room& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(alignment_, other.alignment_);
    }
    Element* memory_ = nullptr;
    std::size_t alignment_ = 64;
};

}  // namespace atrous
