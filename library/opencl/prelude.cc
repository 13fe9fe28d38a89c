#include "prelude.h"

namespace adaspring::opencl {
namespace {

// How a device multiplies four bytes by four and adds to a sum, the best first.
struct Dot {
  const char* extension;
  const char* definition;
};

constexpr Dot kDots[] = {
    {"cl_khr_integer_dot_product",
     "#define adaspring_dot1(a, b, sum) ((sum) + dot_4x8packed_ss_int(as_uint(a), as_uint(b)))\n"},
    {"cl_arm_integer_dot_product_accumulate_int8",
     "#pragma OPENCL EXTENSION cl_arm_integer_dot_product_accumulate_int8 : enable\n"
     "#define adaspring_dot1(a, b, sum) arm_dot_acc(a, b, sum)\n"},
    {"cl_arm_integer_dot_product_int8",
     "#pragma OPENCL EXTENSION cl_arm_integer_dot_product_int8 : enable\n"
     "#define adaspring_dot1(a, b, sum) ((sum) + arm_dot(a, b))\n"},
};

// sums + the products of four bytes with four bytes of each of four channels.
constexpr const char* kDotOfFour = R"(
static int4 adaspring_dot(int4 sums, char4 a, char16 b) {
  return (int4)(adaspring_dot1(a, b.s0123, sums.x), adaspring_dot1(a, b.s4567, sums.y),
                adaspring_dot1(a, b.s89ab, sums.z), adaspring_dot1(a, b.scdef, sums.w));
}
)";

constexpr const char* kPlainDotOfFour = R"(
static int4 adaspring_dot(int4 sums, char4 a, char16 b) {
  const int4 x = convert_int4(a);
  return sums + x.x * convert_int4(b.s048c) + x.y * convert_int4(b.s159d) +
         x.z * convert_int4(b.s26ae) + x.w * convert_int4(b.s37bf);
}
)";

constexpr const char* kHalf = R"(
#ifndef cl_khr_fp16
#define cl_khr_fp16 1
#define half _Float16
#define ADASPRING_MANY __attribute__((overloadable))
#define ADASPRING_HALF(n)                                                                     \
  typedef _Float16 half##n __attribute__((ext_vector_type(n)));                               \
  float##n ADASPRING_MANY convert_float##n(half##n v) {                                       \
    return __builtin_convertvector(v, float##n);                                              \
  }                                                                                           \
  half##n ADASPRING_MANY convert_half##n(float##n v) {                                        \
    return __builtin_convertvector(v, half##n);                                               \
  }                                                                                           \
  ADASPRING_LOAD(n, const __global) ADASPRING_LOAD(n, const __private)                        \
  ADASPRING_STORE(n, __global) ADASPRING_STORE(n, __private)
#define ADASPRING_LOAD(n, space)                                                              \
  half##n ADASPRING_MANY vload##n(size_t at, space _Float16* p) {                             \
    half##n v;                                                                                \
    for (int i = 0; i < n; ++i) v[i] = p[n * at + i];                                         \
    return v;                                                                                 \
  }
#define ADASPRING_STORE(n, space)                                                             \
  void ADASPRING_MANY vstore##n(half##n v, size_t at, space _Float16* p) {                    \
    for (int i = 0; i < n; ++i) p[n * at + i] = v[i];                                         \
  }
ADASPRING_HALF(2) ADASPRING_HALF(4) ADASPRING_HALF(8)
float ADASPRING_MANY convert_float(_Float16 v) { return v; }
_Float16 ADASPRING_MANY convert_half(float v) { return v; }
#endif
)";

bool says(const std::string& text, const char* word) { return text.find(word) != std::string::npos; }

std::string dot(const std::string& extensions) {
  for (const Dot& known : kDots) {
    if (says(extensions, known.extension)) return std::string(known.definition) + kDotOfFour;
  }
  return kPlainDotOfFour;
}

}  // namespace

std::string with_prelude(const std::string& extensions, const std::string& kernels) {
  std::string before;
  if (says(kernels, "half") && !says(extensions, "cl_khr_fp16")) before += kHalf;
  if (says(kernels, "adaspring_dot(")) before += dot(extensions);
  return before + kernels;
}

}  // namespace adaspring::opencl
