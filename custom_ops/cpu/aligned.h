// Vectors whose first value lies at the beginning of a cache line, as TensorFlow's tensors do: a
// load or store that crosses from one line into the next takes twice as long.
#ifndef SSPQ_CPU_ALIGNED_H_
#define SSPQ_CPU_ALIGNED_H_

#include <stdlib.h>

#include <new>
#include <vector>

namespace sspq {

template <typename T>
struct AlignedAllocator {
  typedef T value_type;

  AlignedAllocator() {}
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  T* allocate(size_t n) {
    void* p = nullptr;
    if (posix_memalign(&p, 64, n * sizeof(T)) != 0) throw std::bad_alloc();
    return static_cast<T*>(p);
  }
  void deallocate(T* p, size_t) { free(p); }

  bool operator==(const AlignedAllocator&) const { return true; }
  bool operator!=(const AlignedAllocator&) const { return false; }
};

template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

// The same room without values: to fill what is written anyway takes as long as many a small plane.
template <typename T>
class AlignedRoom {
 public:
  explicit AlignedRoom(size_t n) : data_(n > 0 ? AlignedAllocator<T>().allocate(n) : nullptr) {}
  ~AlignedRoom() { free(data_); }
  AlignedRoom(AlignedRoom&& other) : data_(other.data_) { other.data_ = nullptr; }
  AlignedRoom& operator=(AlignedRoom&&) = delete;

  T* data() const { return data_; }
  T& operator[](size_t k) const { return data_[k]; }

 private:
  T* data_;
};

}  // namespace sspq

#endif  // SSPQ_CPU_ALIGNED_H_
