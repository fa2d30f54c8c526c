// Attributes of the two ops, read and checked in one place for shape function and kernels alike.
#ifndef SSPQ_SHIFT2D_OP_ATTRS_H_
#define SSPQ_SHIFT2D_OP_ATTRS_H_

#include <string>
#include <vector>

#include "custom_ops/shift2d/core/geometry.h"
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

// The sizes of `x`, as [batch, channels, height, width], are checked as far as they are known: a
// batch of -1 is not.
inline ::tensorflow::Status MakeGeometry(const Shift2DAttrs& attrs, const int64_t (&x)[4],
                                         Geometry* g) {
  g->nchw = attrs.nchw;
  g->batch = x[0];
  g->channels = x[1];
  g->h = MakeAxis(x[2], attrs.stride_h, attrs.pad_h);
  g->w = MakeAxis(x[3], attrs.stride_w, attrs.pad_w);
  const char* limit = SizeLimit(*g);
  if (limit == nullptr) return ::tensorflow::Status();
  const std::string batch = g->batch < 0 ? "?" : std::to_string(g->batch);
  return ::tensorflow::errors::InvalidArgument(
      "shift2d: `x` of ", batch, " x ", g->channels, " x ", g->h.in, " x ", g->w.in,
      " (batch, channels, height, width) with `strides` of ", attrs.stride_h, " and ",
      attrs.stride_w, " and `paddings` of ", g->h.pad, " and ", g->w.pad,
      " (height, width) makes `y` ", batch, " x ", g->channels, " x ", g->h.out, " x ", g->w.out,
      "; expected ", limit);
}

}  // namespace sspq

#endif  // SSPQ_SHIFT2D_OP_ATTRS_H_
