// Gaussian filtering with a lattice: splat, blur, slice.

#include <algorithm>
#include <cstring>

#include "lattice.hpp"
#include "room.hpp"
#include "sweeps.hpp"
#include "team.hpp"
#include "variants.hpp"

namespace atrous {
namespace {

// At most `most_channels` channels at once.
class Filtering {
   public:
    Filtering(const Lattice& lattice, bool transposed, std::size_t channels)
        : lattice_(lattice), transposed_(transposed), stride_(channels == 1 ? 1 : padded(channels)),
          values_(Room<float>(lattice.all_rows() * stride_)) {}

    void run(const float* values, std::size_t channels, float* out) {
        const std::size_t count = lattice_.all_rows() * stride_;
        float* rows = values_.get();
        as_team(lattice_.strips, [&](std::size_t member, Barrier& barrier) {
            const std::size_t begin = share(count, member, lattice_.strips);
            std::memset(rows + begin, 0, (share(count, member + 1, lattice_.strips) - begin) * sizeof(float));
            barrier.wait();
            each_run(lattice_, member, [&](std::size_t first, std::size_t last) {
                kernels_.splat(lattice_, transposed_ ? lattice_.slice : lattice_.splat, values, channels, stride_, first,
                              last, rows);
            });
            barrier.wait();
            blur(member, barrier);
            each_run(lattice_, member, [&](std::size_t first, std::size_t last) {
                kernels_.slice(lattice_, transposed_ ? lattice_.splat : lattice_.slice, rows, channels, stride_, first,
                              last, out);
            });
        });
    }

   private:
    void blur(std::size_t member, Barrier& barrier) {
        for (std::size_t strip = 1; strip < lattice_.strips; ++strip) {
            gather_ghosts(lattice_, values_.get(), stride_, member, strip);
            barrier.wait();
        }
        for (int axis = 0; axis < lattice_.corners(); ++axis) {
            const Links links = links_of(lattice_, transposed_ ? lattice_.dimensions - axis : axis, member);
            kernels_.blur(values_.get(), stride_, links.first, links.count);
            barrier.wait();
        }
        spread_ghosts(lattice_, values_.get(), stride_, member);
        barrier.wait();
    }

    const Kernels& kernels_ = kernels();
    const Lattice& lattice_;
    bool transposed_;
    std::size_t stride_;
    Room<float> values_;
};

}  // namespace

void filter(const Lattice& lattice, const float* values, std::size_t channels, bool transposed, float* out) {
    for (std::size_t first = 0; first < channels; first += most_channels) {
        const std::size_t count = std::min(most_channels, channels - first);
        Filtering(lattice, transposed, count).run(values + first * lattice.points(), count, out + first * lattice.points());
    }
}

}  // namespace atrous
