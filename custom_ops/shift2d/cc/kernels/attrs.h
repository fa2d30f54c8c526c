// Attributes of the two ops, read and checked in one place for shape function and kernels alike.
#ifndef SSPQ_SHIFT2D_ATTRS_H_
#define SSPQ_SHIFT2D_ATTRS_H_

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "custom_ops/shift2d/cc/kernels/geometry.h"
#include "tensorflow/core/lib/core/errors.h"
#include "tensorflow/core/lib/core/status.h"
#include "tensorflow/core/lib/strings/str_util.h"

namespace sspq {

struct Shift2DAttrs {
  int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  bool normalize = false;
  bool nchw = true;

  int c_axis() const { return nchw ? 1 : 3; }
  int h_axis() const { return nchw ? 2 : 1; }
  int w_axis() const { return nchw ? 3 : 2; }
  const char* layout_name() const { return nchw ? "NCHW" : "NHWC"; }

  // `Context` is an InferenceContext or an OpKernelConstruction: both have GetAttr.
  template <typename Context>
  ::tensorflow::Status Read(Context* c) {
    std::string data_format;
    std::vector<::tensorflow::int32> strides, paddings;
    TF_RETURN_IF_ERROR(c->GetAttr("data_format", &data_format));
    TF_RETURN_IF_ERROR(c->GetAttr("strides", &strides));
    TF_RETURN_IF_ERROR(c->GetAttr("paddings", &paddings));
    TF_RETURN_IF_ERROR(c->GetAttr("normalize", &normalize));
    nchw = data_format == "NCHW";
    TF_RETURN_IF_ERROR(CheckVector("strides", strides, 1));
    TF_RETURN_IF_ERROR(CheckVector("paddings", paddings, 0));
    stride_h = strides[h_axis()];
    stride_w = strides[w_axis()];
    pad_h = paddings[h_axis()];
    pad_w = paddings[w_axis()];
    return ::tensorflow::Status();
  }

 private:
  // Four entries: `least` for batch and channels, at least `least` for height and width.
  ::tensorflow::Status CheckVector(const char* name, const std::vector<::tensorflow::int32>& values,
                                   int least) const {
    if (values.size() == 4 && values[0] == least && values[c_axis()] == least &&
        values[h_axis()] >= least && values[w_axis()] >= least) {
      return ::tensorflow::Status();
    }
    return ::tensorflow::errors::InvalidArgument(
        "shift2d: `", name, "` must be 4 ints in the order of ", layout_name(), ", ", least,
        " for batch and channels and at least ", least, " for height and width; got [",
        ::tensorflow::str_util::Join(values, ", "), "]");
  }
};

// The kernels and the rest of TensorFlow index tensors with 32 bits in places.
inline ::tensorflow::Status CheckIndexable(int64_t n, int64_t c, int64_t h, int64_t w) {
  // An empty axis counts as one: TensorFlow multiplies the others all the same.
  double elements = 1;
  for (int64_t size : {n, c, h, w}) elements *= static_cast<double>(std::max<int64_t>(1, size));
  if (elements <= std::numeric_limits<int32_t>::max()) return ::tensorflow::Status();
  return ::tensorflow::errors::InvalidArgument(
      "shift2d: the output would have ", n, " x ", c, " x ", h, " x ", w,
      " elements (batch, channels, height, width), expected fewer than 2^31");
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_ATTRS_H_
