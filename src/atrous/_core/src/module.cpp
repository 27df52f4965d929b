#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "kernels.hpp"

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

}  // namespace

// Arguments are checked by the Python functions that call these.
NB_MODULE(_kernels, module) {
    using release = nb::call_guard<nb::gil_scoped_release>;
    module.def("confusion", &confusion, release());
    module.def("enlarge_argmax", &enlarge_argmax, release());
}
