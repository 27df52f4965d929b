// Mean field in a fully connected CRF (Krahenbuhl and Koltun 2011, algorithm 1).
//
// One iteration is one pass over the points, which slices what the lattices hold, takes the softmax and splats it into
// the other buffer for the next iteration, and then a blur of that buffer. The marginals themselves are written once, at
// the end.

#include <algorithm>
#include <atomic>
#include <cstring>

#include "lattice.hpp"
#include "room.hpp"
#include "strips.hpp"
#include "sweeps.hpp"
#include "team.hpp"
#include "variants.hpp"

namespace atrous {
namespace {

// Where messages are so large that exponentials could overflow, a second run subtracts the largest logit first.
constexpr float large_logit = 80.0f;
// Blurring multiplies by up to two on each axis; halves must not overflow at 65504.
constexpr float half_scale = 1.0f / 64;
constexpr int settling_pass = 2;

// The rows and strips in which the points are visited: where there is no lattice, one long row.
Lattice frame_of(const MeanField& task) {
    if (!task.lattices.empty()) return task.lattices[0];
    Lattice frame{};
    frame.rows = frame.strips = 1;
    frame.width = task.points;
    return frame;
}

class Inference {
   public:
    // Careful: the largest logit of a point is subtracted before exponentials are taken.
    Inference(const MeanField& task, bool careful)
        : task_(task), kernels_(atrous::kernels()), frame_(frame_of(task)), points_(task.points),
          labels_(task.labels.rows()), strips_(frame_.strips), binary_(is_binary(task)),
          stride_(binary_ ? 1 : padded(labels_)), half_(task.half && !binary_ && kernels_.to_half) {
        order_terms();
        reserve();
        describe_pass(careful);
    }

    // False where the unaries cannot be used.
    bool run() {
        std::atomic<bool> usable{true};
        as_team(strips_, [&](std::size_t member, Barrier& barrier) {
            if (!prepare(member)) usable = false;
            clear(values_[0].get(), member);
            if (base_) clear(base_.get(), member);
            barrier.wait();
            if (usable) iterate(member, barrier);
        });
        return usable;
    }

    bool overflowed() const {
        return !pass_.careful &&
               std::any_of(own_.begin(), own_.end(), [](const Strip& strip) { return strip.largest > large_logit; });
    }

   private:
    static bool is_binary(const MeanField& task) {
        return task.labels.rows() == 2 && task.labels.rest.empty() && !task.label_weights && !task.matrix &&
               task.own.empty() && task.settle <= 0.0f;
    }

    void describe_pass(bool careful) {
        pass_.terms = terms_.data();
        pass_.term_count = terms_.size();
        pass_.labels = labels_;
        pass_.stride = stride_;
        pass_.unary = task_.unary;
        pass_.kept = task_.labels.kept.data();
        pass_.rest = task_.labels.rest.data();
        pass_.rest_count = task_.labels.rest.size();
        pass_.points = points_;
        pass_.logits = logits_.get();
        pass_.half_scale = half_scale;
        pass_.label_weights = task_.label_weights ? label_weights_.data() : nullptr;
        pass_.matrix = task_.matrix ? matrix_.data() : nullptr;
        pass_.previous = previous_.get();
        pass_.marginals = task_.marginals;
        pass_.settle = task_.settle;
        pass_.sample = sample_.empty() ? nullptr : sample_.data();
        // Only a Potts model leaves the largest logit of a point at 0 or above.
        pass_.careful = careful || !potts();
    }

    bool potts() const {
        const float* end = task_.label_weights ? task_.label_weights + labels_ : nullptr;
        const auto negative = [](float weight) { return weight < 0.0f; };
        return !task_.matrix && task_.own.empty() && std::none_of(task_.label_weights, end, negative) &&
               std::none_of(task_.weights.begin(), task_.weights.end(), negative);
    }

    void order_terms() {
        std::size_t offset = 0;
        for (std::size_t index = 0; index < task_.lattices.size(); ++index) {
            const Lattice& lattice = task_.lattices[index];
            terms_.push_back({lattice, task_.weights[index] * lattice.gain, offset,
                              task_.own.empty() ? nullptr : task_.own[index]});
            offset += lattice.all_rows();
        }
        rows_ = offset;
        std::stable_sort(terms_.begin(), terms_.end(), [](const Term& left, const Term& right) {
            return left.lattice.size > right.lattice.size;
        });
    }

    void reserve() {
        logits_ = Room<float>(points_ * stride_);
        values_[0] = Room<float>(rows_ * stride_);
        if (half_)
            halves_ = Room<std::uint16_t>(rows_ * stride_);
        else
            values_[1] = Room<float>(rows_ * stride_);
        if (task_.settle > 0.0f) {
            settled_.resize(points_);
            base_ = Room<float>(rows_ * stride_);
            active_.resize(strips_);
            for (auto& points : active_) points.reserve((frame_.rows / strips_ + 1) * frame_.width);
        }
        if (!task_.own.empty()) previous_ = Room<float>(points_ * stride_);
        if (task_.tolerance > 0.0f) sample_.resize((points_ / sampled + 1) * stride_);
        scratch_ = Room<float>(strips_ * (tile_columns + 1) * padded(stride_));
        label_weights_.resize(stride_);
        if (task_.label_weights) std::copy_n(task_.label_weights, labels_, label_weights_.data());
        if (task_.matrix) {
            matrix_.resize(labels_ * stride_);
            for (std::size_t row = 0; row < labels_; ++row)
                for (std::size_t column = 0; column < labels_; ++column)
                    matrix_[column * stride_ + row] = task_.matrix[row * labels_ + column];
        }
        own_.resize(strips_);
        for (std::size_t strip = 0; strip < strips_; ++strip)
            own_[strip].scratch = scratch_.get() + strip * (tile_columns + 1) * padded(stride_);
    }

    // The logits of this strip's points as rows; of two labels only their difference is kept.
    bool prepare(std::size_t member) {
        bool usable = true;
        const std::size_t stride = padded(stride_);
        each_run(frame_, member, [&](std::size_t begin, std::size_t end) {
            float* rows = binary_ ? own_[member].scratch : logits_.get() + begin * stride;
            if (!kernels_.prepare(pass_, stride, task_.from_probabilities, begin, end, rows)) usable = false;
            for (std::size_t point = begin; binary_ && point < end; ++point, rows += stride)
                logits_[point] = rows[1] - rows[0];
        });
        return usable;
    }

    void iterate(std::size_t member, Barrier& barrier) {
        float* source = nullptr;
        float* target = values_[0].get();
        int last = task_.iterations;
        for (int step = 0;; ++step) {
            visit(step, step == last, source, target, member);
            barrier.wait();
            if (step == last) return;
            if (step > 0 && change() < task_.tolerance) last = step + 1;
            blur(target, source, step, member, barrier);
            if (!half_) {
                source = target;
                target = source == values_[0].get() ? values_[1].get() : values_[0].get();
            }
        }
    }

    // One pass over the strip's points.
    void visit(int step, bool last, const float* source, float* target, std::size_t member) {
        Pass pass = pass_;
        Strip& strip = own_[member];
        strip.change = 0;
        pass.source = source;
        pass.half = half_ && step > 0 ? halves_.get() : nullptr;
        pass.target = last ? nullptr : target;
        const bool settling = !settled_.empty() && step >= settling_pass;
        pass.settled = settling ? settled_.data() : nullptr;
        pass.base = settling && step == settling_pass && !last ? base_.get() : nullptr;
        if (settling && step > settling_pass && !last) {
            pass.active = active_[member].data();
            for (std::size_t begin = 0; begin < active_[member].size(); begin += tile_columns)
                kernels_.pass(pass, begin, std::min(active_[member].size(), begin + tile_columns), strip);
            return;
        }
        const auto visit_run = binary_ ? kernels_.binary_pass : kernels_.pass;
        each_run(frame_, member, [&](std::size_t begin, std::size_t end) { visit_run(pass, begin, end, strip); });
        if (pass.base) list_active(member);
    }

    void list_active(std::size_t member) {
        each_run(frame_, member, [&](std::size_t begin, std::size_t end) {
            for (std::size_t point = begin; point < end; ++point)
                if (!settled_[point]) active_[member].push_back(static_cast<std::int32_t>(point));
        });
    }

    // The mean change of a marginal, which every thread works out for itself from all strips.
    double change() const {
        double sum = 0;
        for (const Strip& strip : own_) sum += strip.change;
        return sum / static_cast<double>(((points_ + sampled - 1) / sampled) * labels_);
    }

    // Blurs what was splatted into `target`, and makes the other buffer ready for the next pass.
    void blur(float* target, float* source, int step, std::size_t member, Barrier& barrier) {
        for (std::size_t strip = 1; strip < strips_; ++strip) {
            for (const Term& term : terms_)
                gather_ghosts(term.lattice, target + term.offset * stride_, stride_, member, strip);
            barrier.wait();
        }
        make_ready(target, source, step, member);
        if (half_) barrier.wait();
        int axes = 0;
        for (const Term& term : terms_) axes = std::max(axes, term.lattice.corners());
        for (int axis = 0; axis < axes; ++axis) {
            for (const Term& term : terms_)
                if (axis < term.lattice.corners()) blur_axis(term, axis, target, member);
            barrier.wait();
        }
        for (const Term& term : terms_) {
            if (half_)
                spread_ghosts(term.lattice, halves_.get() + term.offset * stride_, stride_, member);
            else
                spread_ghosts(term.lattice, target + term.offset * stride_, stride_, member);
        }
        barrier.wait();
    }

    // This thread's rows of the buffer for the next pass: zeros, or what the points that have settled always add. Half
    // precision needs one buffer only, whose values move to the halves here.
    void make_ready(float* target, float* source, int step, std::size_t member) {
        const std::size_t begin = first_value(member), count = first_value(member + 1) - begin;
        float* next = half_ ? target : source ? source : values_[1].get();
        if (half_) kernels_.to_half(target + begin, count, half_scale, halves_.get() + begin);
        if (!settled_.empty() && step >= settling_pass)
            std::memcpy(next + begin, base_.get() + begin, count * sizeof(float));
        else if (!half_)
            std::memset(next + begin, 0, count * sizeof(float));
    }

    void blur_axis(const Term& term, int axis, float* values, std::size_t member) const {
        const Links links = links_of(term.lattice, axis, member);
        if (half_)
            kernels_.blur_half(halves_.get() + term.offset * stride_, stride_, links.first, links.count);
        else
            kernels_.blur(values + term.offset * stride_, stride_, links.first, links.count);
    }

    void clear(float* values, std::size_t member) const {
        const std::size_t begin = first_value(member);
        std::memset(values + begin, 0, (first_value(member + 1) - begin) * sizeof(float));
    }

    // Where this thread's share of the vertices' rows begins.
    std::size_t first_value(std::size_t member) const { return share(rows_, member, strips_) * stride_; }

    const MeanField& task_;
    const Kernels& kernels_;
    const Lattice frame_;
    std::size_t points_, labels_, strips_;
    bool binary_;
    std::size_t stride_, rows_ = 0;
    bool half_;
    std::vector<Term> terms_;
    Room<float> logits_, values_[2], base_, previous_, scratch_;
    std::vector<float> sample_, label_weights_, matrix_;
    Room<std::uint16_t> halves_;
    std::vector<std::uint8_t> settled_;
    std::vector<std::vector<std::int32_t>> active_;
    std::vector<Strip> own_;
    Pass pass_{};
};

}  // namespace

void peaks(const float* values, std::size_t labels, std::size_t points, std::size_t threads, float* largest) {
    in_strips(labels, std::min(threads, labels), [&](std::size_t, std::size_t begin, std::size_t end) {
        for (std::size_t label = begin; label < end; ++label)
            largest[label] = kernels().range(values + label * points, points).high;
    });
}

bool mean_field(const MeanField& task) {
    {
        Inference inference(task, false);
        if (!inference.run()) return false;
        if (!inference.overflowed()) return true;
    }
    return Inference(task, true).run();
}

}  // namespace atrous
