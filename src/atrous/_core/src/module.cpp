#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels.hpp"
#include "lattice.hpp"
#include "variants.hpp"

namespace nb = nanobind;

namespace {

template <typename Element, typename... Annotations>
using Array = nb::ndarray<Element, nb::numpy, nb::c_contig, nb::device::cpu, Annotations...>;

using Line = nb::ndim<1>;

bool confusion(Array<const std::uint8_t, Line> truth, Array<const std::uint8_t, Line> predicted,
               Array<std::int64_t, nb::ndim<2>> matrix, std::size_t threads) {
    return atrous::confusion(truth.data(), predicted.data(), truth.size(), matrix.shape(0), threads, matrix.data());
}

void enlarge_argmax(Array<const float, nb::ndim<3>> logits, Array<const std::int32_t, Line> first_rows,
                    Array<const std::int32_t, Line> second_rows, Array<const float, Line> row_weights,
                    Array<const std::int32_t, Line> first_columns, Array<const std::int32_t, Line> second_columns,
                    Array<const float, Line> column_weights, Array<std::uint8_t, nb::ndim<2>> labels,
                    std::size_t threads) {
    const atrous::Axis rows{first_rows.data(), second_rows.data(), row_weights.data(), first_rows.size()};
    const atrous::Axis columns{first_columns.data(), second_columns.data(), column_weights.data(),
                               first_columns.size()};
    atrous::enlarge_argmax(logits.data(), logits.shape(0), logits.shape(1), logits.shape(2), rows, columns, threads,
                           labels.data());
}

void two_nearest(Array<const std::int32_t, nb::ndim<2>> objects, float farthest, std::size_t reach, std::size_t threads,
                 Array<float, nb::ndim<2>> first, Array<float, nb::ndim<2>> second) {
    atrous::two_nearest(objects.data(), objects.shape(0), objects.shape(1), farthest, reach, threads, first.data(),
                        second.data());
}

template <typename Element>
Element* address(atrous::Room<Element>& room) {
    return room.get();
}
template <typename Element>
Element* address(std::vector<Element>& values) {
    values.reserve(1);  // so that there is one
    return values.data();
}

// An array of Python's whose memory goes when it goes.
template <typename Holder, typename... Sides>
nb::object owned(Holder&& holder, Sides... sides) {
    using Kept = std::decay_t<Holder>;
    auto kept = std::make_unique<Kept>(std::move(holder));
    auto* data = address(*kept);
    nb::capsule owner(kept.get(), [](void* memory) noexcept { delete static_cast<Kept*>(memory); });
    kept.release();
    return nb::cast(nb::ndarray<nb::numpy, std::remove_pointer_t<decltype(data)>>(data, {sides...}, owner));
}

template <typename Element>
nb::object listed(std::vector<Element>& values) {
    const std::size_t size = values.size();
    return owned(std::move(values), size);
}

nb::object lattice_of(Array<const float, nb::ndim<3>> features, std::size_t strips) {
    const auto dimensions = static_cast<int>(features.shape(0));
    const std::size_t points = features.shape(1) * features.shape(2);
    atrous::LatticeArrays arrays;
    atrous::Built built;
    {
        nb::gil_scoped_release release;
        built = atrous::build_lattice(features.data(), dimensions, features.shape(1), features.shape(2), strips, arrays);
    }
    if (built == atrous::Built::not_finite) return nb::none();
    if (built == atrous::Built::too_wide) throw std::overflow_error("the packed keys of the vertices");
    const auto corners = static_cast<std::size_t>(dimensions) + 1;
    return nb::make_tuple(owned(std::move(arrays.vertices), points, corners),
                          owned(std::move(arrays.weights), points, corners), listed(arrays.chains),
                          listed(arrays.axes), listed(arrays.owners),
                          listed(arrays.ghosts), arrays.size);
}

// A lattice of Python's, read; `held` keeps its arrays alive.
atrous::Lattice lattice_in(nb::handle object, std::vector<nb::object>& held) {
    const auto read = [&](const char* name) {
        held.push_back(object.attr(name));
        return held.back();
    };
    // Without conversion: a converted copy would be gone before it is used.
    const auto vertices = nb::cast<Array<const std::int32_t, nb::ndim<2>>>(read("vertices"), false);
    const auto splat = nb::cast<Array<const float, nb::ndim<2>>>(read("splat"), false);
    const auto slice = nb::cast<Array<const float, nb::ndim<2>>>(read("slice"), false);
    const auto chains = nb::cast<Array<const std::int32_t, Line>>(read("chains"), false);
    const auto axes = nb::cast<Array<const std::int64_t, Line>>(read("axes"), false);
    const auto owners = nb::cast<Array<const std::int32_t, Line>>(read("owners"), false);
    const auto ghosts = nb::cast<Array<const std::int64_t, Line>>(read("ghosts"), false);
    const nb::object shape = object.attr("shape");
    return {vertices.data(), splat.data(), slice.data(), chains.data(), axes.data(), owners.data(), ghosts.data(),
            nb::cast<std::size_t>(object.attr("size")), ghosts.size() - 1, nb::cast<std::size_t>(shape[0]),
            nb::cast<std::size_t>(shape[1]), static_cast<int>(vertices.shape(1)) - 1,
            nb::cast<float>(object.attr("gain"))};
}

void filtered(nb::object lattice, Array<const float, nb::ndim<2>> values, bool transposed,
              Array<float, nb::ndim<2>> out) {
    std::vector<nb::object> held;
    const atrous::Lattice view = lattice_in(lattice, held);
    nb::gil_scoped_release release;
    atrous::filter(view, values.data(), values.shape(0), transposed, out.data());
}

using Table = Array<const float>;

bool mean_field(Array<const float, nb::ndim<2>> unary, nb::list lattices, nb::list weights, int iterations,
                bool from_probabilities, std::optional<Array<const std::int32_t, Line>> kept,
                std::optional<Table> compatibility, std::optional<nb::list> own, bool half,
                float settle, float tolerance, Array<float, nb::ndim<2>> marginals) {
    std::vector<nb::object> held;
    atrous::MeanField task{};
    task.unary = unary.data();
    for (std::size_t label = 0, next = 0; label < unary.shape(0); ++label) {
        const bool stays = !kept || (next < kept->size() && kept->data()[next] == static_cast<std::int32_t>(label));
        (stays ? task.labels.kept : task.labels.rest).push_back(static_cast<std::int32_t>(label));
        next += stays ? 1 : 0;
    }
    task.points = unary.shape(1);
    for (nb::handle lattice : lattices) task.lattices.push_back(lattice_in(lattice, held));
    for (nb::handle weight : weights) task.weights.push_back(nb::cast<float>(weight));
    for (std::size_t index = 0; own && index < nb::len(*own); ++index)
        task.own.push_back(nb::cast<Array<const float, Line>>((*own)[index], false).data());
    if (compatibility) (compatibility->ndim() == 1 ? task.label_weights : task.matrix) = compatibility->data();
    task.iterations = iterations;
    task.from_probabilities = from_probabilities;
    task.half = half;
    task.settle = settle;
    task.tolerance = tolerance;
    task.marginals = marginals.data();
    nb::gil_scoped_release release;
    return atrous::mean_field(task);
}

void peaks(Array<const float, nb::ndim<2>> values, std::size_t threads, Array<float, Line> largest) {
    atrous::peaks(values.data(), values.shape(0), values.shape(1), threads, largest.data());
}

}  // namespace

// Arguments are checked by the Python functions that call these, and lattices are made by them. Arrays are taken as they
// are or not at all: results written to a converted copy would be lost.
NB_MODULE(_kernels, module) {
    using release = nb::call_guard<nb::gil_scoped_release>;
    const auto exact = [] { return nb::arg().noconvert(); };
    module.def("confusion", &confusion, exact(), exact(), exact(), nb::arg(), release());
    module.def("enlarge_argmax", &enlarge_argmax, exact(), exact(), exact(), exact(), exact(), exact(), exact(), exact(),
               nb::arg(), release());
    module.def("two_nearest", &two_nearest, exact(), nb::arg(), nb::arg(), nb::arg(), exact(), exact(), release());
    module.def("variant", [] { return atrous::kernels().name; });
    module.def("use_variant", &atrous::use_kernels);
    module.def("lattice_of", &lattice_of, exact(), nb::arg());
    module.def("filtered", &filtered, nb::arg(), exact(), nb::arg(), exact());
    const auto perhaps = [] { return nb::arg().noconvert().none(); };
    module.def("mean_field", &mean_field, exact(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), perhaps(), perhaps(),
               perhaps(), nb::arg(), nb::arg(), nb::arg(), exact());
    module.def("peaks", &peaks, exact(), nb::arg(), exact(), release());
}
