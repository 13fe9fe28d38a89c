#ifndef CUDA_ON_CPU_MATH_CONSTANTS_H_
#define CUDA_ON_CPU_MATH_CONSTANTS_H_

#define CUDART_INF_F __builtin_inff()
#define CUDART_NAN_F __builtin_nanf("")
#define CUDART_INF __builtin_inf()
#define CUDART_NAN __builtin_nan("")

#endif  // CUDA_ON_CPU_MATH_CONSTANTS_H_
