// Magnitude pruning and int8 rounding of weights on a GPU, with the CPU's results bit for bit.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compress/magnitude.h"
#include "compress/quantize_weight.h"
#include "engine/gpu_device.h"

namespace whittle {

// Elements that are on the GPU at a time where not all fit: two such pieces, 64 MB each. Smaller where those do not.
inline constexpr int64_t kGpuPiece = int64_t{1} << 24;

// The tensors of a pruning. Stay on the GPU if there is room for all of them; else each pass streams them through two
// pieces of memory, one copied while the other is worked on.
class CudaMagnitudes {
 public:
  // The tensors must outlive this. `check` is called between pieces and may throw. Throws GpuOutOfMemory if not even
  // small pieces fit, Error DEVICE if the GPU is lost.
  CudaMagnitudes(GpuDevice& device, const std::vector<MagnitudeTensor>& tensors, const std::function<void()>& check);
  ~CudaMagnitudes();
  CudaMagnitudes(const CudaMagnitudes&) = delete;
  CudaMagnitudes& operator=(const CudaMagnitudes&) = delete;

  // As magnitude_cut and magnitude_masks.
  MagnitudeCut cut(int64_t cut_count);
  void masks(const MagnitudeCut& cut, const std::vector<uint8_t*>& masks);

 private:
  struct Lane;
  struct Piece {
    size_t tensor;
    int64_t begin, count;
    int64_t first_block;  // of cuda::kMaskBlock elements, counted over all tensors
    int64_t blocks() const;
  };

  std::vector<int64_t> histogram(int32_t within, int64_t bins);
  std::vector<int64_t> ties_before(float threshold);
  // work(lane, piece, x) for each piece in order, in two lanes by turns; x is on the GPU when the lane's stream gets
  // there. finish(lane, piece) once the stream is done.
  template <typename Work, typename Finish>
  void for_each_piece(const Work& work, const Finish& finish);
  bool keep_all();
  void make_lanes();

  GpuDevice& device_;
  const std::vector<MagnitudeTensor>& tensors_;
  const std::function<void()> check_;
  std::vector<GpuBuffer> resident_;  // one a tensor, or none
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Piece> pieces_;
  int64_t blocks_ = 0;
};

// As quantize_weight. Rows go to the GPU in pieces.
QuantizedWeight quantize_weight_on_gpu(GpuDevice& device, const std::string& name, const float* w, int64_t rows,
                                       int64_t cols, int8_t* q, float* scales, const std::function<void()>& check);

}  // namespace whittle
