// Types of the CUDA runtime, for the emulation.
#ifndef SSPQ_EMULATED_CUDA_RUNTIME_API_H_
#define SSPQ_EMULATED_CUDA_RUNTIME_API_H_

typedef enum {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
} cudaError_t;

typedef struct CUstream_st* cudaStream_t;

#endif  // SSPQ_EMULATED_CUDA_RUNTIME_API_H_
