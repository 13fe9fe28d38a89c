// Tensor cores: a warp's lanes hold a matrix together. Which lane has which element CUDA leaves
// open; here lane l has those of index l, l + 32, … in row-major order.
#ifndef CUDA_ON_CPU_MMA_H_
#define CUDA_ON_CPU_MMA_H_

#include <type_traits>

#include "warp.h"

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int m, int n, int k, class Type, class Layout = void>
struct fragment {
  static constexpr int rows = std::is_same_v<Use, matrix_b> ? k : m;
  static constexpr int columns = std::is_same_v<Use, matrix_a> ? k : n;
  static constexpr int num_elements = rows * columns / 32;

  Type x[num_elements];

  static int row(int element) { return index(element) / columns; }
  static int column(int element) { return index(element) % columns; }
  static int offset(int element, unsigned stride, bool by_rows) {
    return by_rows ? row(element) * stride + column(element)
                   : column(element) * stride + row(element);
  }

 private:
  static int index(int element) { return element * 32 + cuda_on_cpu::lane(); }
};

// Wait until all 32 lanes are here; give what they offer.
inline const uint64_t* meet_all(int line, const void* offer = nullptr) {
  const auto word = reinterpret_cast<uint64_t>(offer);
  const CudaOnCpuMeeting meeting = cuda_on_cpu_meet(cuda_on_cpu::kAllLanes, word, line);
  if (meeting.mask != cuda_on_cpu::kAllLanes) {
    cuda_on_cpu_stop("a matrix needs all 32 lanes of a warp", line);
  }
  return meeting.offers;
}

template <class Use, int m, int n, int k, class Type, class Layout, class Value>
void fill_fragment(fragment<Use, m, n, k, Type, Layout>& filled, Value value,
                   int line = __builtin_LINE()) {
  meet_all(line);
  for (auto& each : filled.x) each = value;
}

template <class Use, int m, int n, int k, class Type, class Layout>
void load_matrix_sync(fragment<Use, m, n, k, Type, Layout>& loaded, const Type* from,
                      unsigned stride, int line = __builtin_LINE()) {
  meet_all(line);
  for (int i = 0; i < loaded.num_elements; ++i) {
    loaded.x[i] = from[loaded.offset(i, stride, std::is_same_v<Layout, row_major>)];
  }
}

template <int m, int n, int k, class Type>
void load_matrix_sync(fragment<accumulator, m, n, k, Type>& loaded, const Type* from,
                      unsigned stride, layout_t layout, int line = __builtin_LINE()) {
  meet_all(line);
  for (int i = 0; i < loaded.num_elements; ++i) {
    loaded.x[i] = from[loaded.offset(i, stride, layout == mem_row_major)];
  }
}

template <int m, int n, int k, class Type>
void store_matrix_sync(Type* to, const fragment<accumulator, m, n, k, Type>& stored,
                       unsigned stride, layout_t layout, int line = __builtin_LINE()) {
  meet_all(line);
  for (int i = 0; i < stored.num_elements; ++i) {
    to[stored.offset(i, stride, layout == mem_row_major)] = stored.x[i];
  }
}

template <class A, class B>
struct Operands {
  const A* a;
  const B* b;

  static auto in_a(const uint64_t* lanes, int row, int column) {
    return element(lanes, &Operands::a, row * A::columns + column);
  }
  static auto in_b(const uint64_t* lanes, int row, int column) {
    return element(lanes, &Operands::b, row * B::columns + column);
  }

 private:
  template <class Fragment>
  static auto element(const uint64_t* lanes, const Fragment* Operands::*operand, int index) {
    return (reinterpret_cast<const Operands*>(lanes[index % 32])->*operand)->x[index / 32];
  }
};

// d = a b + c; sums in half are rounded once, at the end.
template <int m, int n, int k, class In, class LayoutA, class LayoutB, class Sum>
void mma_sync(fragment<accumulator, m, n, k, Sum>& d,
              const fragment<matrix_a, m, n, k, In, LayoutA>& a,
              const fragment<matrix_b, m, n, k, In, LayoutB>& b,
              const fragment<accumulator, m, n, k, Sum>& c, int line = __builtin_LINE()) {
  using Lane = Operands<fragment<matrix_a, m, n, k, In, LayoutA>,
                        fragment<matrix_b, m, n, k, In, LayoutB>>;
  using Wide = std::conditional_t<std::is_same_v<Sum, int>, int, float>;
  const Lane mine{&a, &b};
  const uint64_t* lanes = meet_all(line, &mine);
  for (int i = 0; i < d.num_elements; ++i) {
    Wide sum = c.x[i];
    for (int j = 0; j < k; ++j) {
      sum += Wide(Lane::in_a(lanes, d.row(i), j)) * Wide(Lane::in_b(lanes, j, d.column(i)));
    }
    d.x[i] = sum;
  }
  meet_all(line);  // from here on each may change its own
}

}  // namespace nvcuda::wmma

#endif  // CUDA_ON_CPU_MMA_H_
