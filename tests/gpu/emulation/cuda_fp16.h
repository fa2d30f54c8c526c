// float16 as CUDA has it, for the emulation.
#ifndef SSPQ_EMULATED_CUDA_FP16_H_
#define SSPQ_EMULATED_CUDA_FP16_H_

#include <cmath>

struct __half_raw {
  unsigned short x;
};

struct __half {
  unsigned short x;
  explicit __half(__half_raw raw) : x(raw.x) {}
  operator __half_raw() const { return __half_raw{x}; }
};

// 5 bits of exponent, 10 of fraction.
inline float __half2float(__half value) {
  const int exponent = value.x >> 10 & 31, fraction = value.x & 1023;
  const float sign = value.x & 0x8000 ? -1.f : 1.f;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                               : std::ldexp(1024.f + fraction, exponent - 25));
}

// To the nearest, ties to even.
inline __half __float2half_rn(float value) {
  const unsigned short sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::fabs(static_cast<double>(value));
  const auto made = [sign](int bits) {
    return __half(__half_raw{static_cast<unsigned short>(sign | bits)});
  };
  if (std::isnan(value)) return made(0x7e00);
  if (size >= 65520) return made(0x7c00);
  const int exponent = size < std::ldexp(1.0, -14) ? -14 : std::ilogb(size);
  const int steps = static_cast<int>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  // A step too many carries into the exponent, which is then right.
  return made(exponent == -14 ? steps : ((exponent + 15) << 10) + steps - 1024);
}

#endif  // SSPQ_EMULATED_CUDA_FP16_H_
