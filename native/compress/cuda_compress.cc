#include "compress/cuda_compress.h"

#include <algorithm>

namespace whittle {

namespace {

constexpr int64_t kFewestElements = int64_t{1} << 16;  // of a piece

int64_t blocks_of(int64_t count) {
  return (count + cuda::kMaskBlock - 1) / cuda::kMaskBlock;
}

// A stream, destroyed with its object once what it does is done.
class GpuStream {
 public:
  explicit GpuStream(GpuDevice& device) : device_(device), stream_(device.create_stream()) {}
  ~GpuStream() {
    try {
      device_.synchronize(stream_);  // copies read memory that may go
    } catch (...) {
      // Told where it was waited for.
    }
    device_.destroy_stream(stream_);
  }
  GpuStream(const GpuStream&) = delete;
  GpuStream& operator=(const GpuStream&) = delete;
  operator cuda::Stream() const { return stream_; }

 private:
  GpuDevice& device_;
  cuda::Stream stream_;
};

}  // namespace

struct CudaMagnitudes::Lane {
  GpuBuffer x;                       // [piece], unless all tensors are resident
  GpuBuffer mask;                    // [piece]
  GpuBuffer ties;                    // int32 [blocks of a piece]
  GpuBuffer ties_before;             // int64 [blocks of a piece]
  GpuBuffer counts;                  // uint64 [kLowerBins]
  std::vector<int32_t> piece_ties;   // what `ties` holds, on the host
  const Piece* busy = nullptr;
  GpuStream stream;                  // last, so that it ends first

  Lane(GpuDevice& device, int64_t piece, bool resident)
      : x(device, resident ? 0 : piece * static_cast<int64_t>(sizeof(float))),
        mask(device, piece),
        ties(device, blocks_of(piece) * static_cast<int64_t>(sizeof(int32_t))),
        ties_before(device, blocks_of(piece) * static_cast<int64_t>(sizeof(int64_t))),
        counts(device, kMagnitudeLowerBins * static_cast<int64_t>(sizeof(uint64_t))),
        piece_ties(static_cast<size_t>(blocks_of(piece))),
        stream(device) {}
};

int64_t CudaMagnitudes::Piece::blocks() const {
  return blocks_of(count);
}

CudaMagnitudes::CudaMagnitudes(GpuDevice& device, const std::vector<MagnitudeTensor>& tensors,
                               const std::function<void()>& check)
    : device_(device), tensors_(tensors), check_(check) {
  if (!keep_all()) resident_.clear();
  make_lanes();
}

CudaMagnitudes::~CudaMagnitudes() = default;

// Half of the free memory at most, so that masks fit beside.
bool CudaMagnitudes::keep_all() {
  int64_t bytes = 0;
  for (const MagnitudeTensor& tensor : tensors_) bytes += tensor.count * static_cast<int64_t>(sizeof(float));
  if (bytes > device_.free_memory() / 2) return false;
  GpuStream stream(device_);
  try {
    for (const MagnitudeTensor& tensor : tensors_) {
      check_();
      resident_.emplace_back(device_, tensor.count * static_cast<int64_t>(sizeof(float)));
      if (tensor.count > 0)
        device_.upload(resident_.back().as<void>(), tensor.data, resident_.back().bytes(), stream);
    }
  } catch (const GpuOutOfMemory&) {
    device_.synchronize(stream);
    return false;
  }
  device_.synchronize(stream);
  return true;
}

void CudaMagnitudes::make_lanes() {
  int64_t largest = cuda::kMaskBlock;
  for (const MagnitudeTensor& tensor : tensors_) largest = std::max(largest, tensor.count);
  int64_t piece = std::min(kGpuPiece, blocks_of(largest) * cuda::kMaskBlock);
  for (;; piece = blocks_of(piece / 2) * cuda::kMaskBlock) {
    try {
      for (int i = 0; i < 2; ++i) lanes_.push_back(std::make_unique<Lane>(device_, piece, !resident_.empty()));
      break;
    } catch (const GpuOutOfMemory&) {
      lanes_.clear();
      if (resident_.empty() && piece <= kFewestElements) throw;
      resident_.clear();
    }
  }
  for (size_t t = 0; t < tensors_.size(); ++t)
    for (int64_t begin = 0; begin < tensors_[t].count; begin += piece) {
      const int64_t count = std::min(piece, tensors_[t].count - begin);
      pieces_.push_back({t, begin, count, blocks_});
      blocks_ += blocks_of(count);
    }
}

template <typename Work, typename Finish>
void CudaMagnitudes::for_each_piece(const Work& work, const Finish& finish) {
  const auto wait = [&](Lane& lane) {
    if (!lane.busy) return;
    device_.synchronize(lane.stream);
    finish(lane, *lane.busy);
    lane.busy = nullptr;
  };
  size_t turn = 0;
  for (const Piece& piece : pieces_) {
    check_();
    Lane& lane = *lanes_[turn++ % lanes_.size()];
    wait(lane);
    const float* x = nullptr;
    if (resident_.empty()) {
      device_.upload(lane.x.as<void>(), tensors_[piece.tensor].data + piece.begin,
                     piece.count * static_cast<int64_t>(sizeof(float)), lane.stream);
      x = lane.x.as<float>();
    } else {
      x = resident_[piece.tensor].as<float>() + piece.begin;
    }
    lane.busy = &piece;
    work(lane, piece, x);
  }
  for (size_t i = 0; i < lanes_.size(); ++i) wait(*lanes_[(turn + i) % lanes_.size()]);
}

std::vector<int64_t> CudaMagnitudes::histogram(int32_t within, int64_t bins) {
  const int64_t bytes = bins * static_cast<int64_t>(sizeof(uint64_t));
  const std::vector<uint64_t> zeros(static_cast<size_t>(bins));
  for (const auto& lane : lanes_) {
    device_.upload(lane->counts.as<void>(), zeros.data(), bytes, lane->stream);
    device_.synchronize(lane->stream);
  }
  for_each_piece(
      [&](Lane& lane, const Piece& piece, const float* x) {
        device_.kernels().magnitude_histogram({x, piece.count, within, lane.counts.as<uint64_t>()}, lane.stream);
      },
      [](Lane&, const Piece&) {});
  std::vector<int64_t> sums(static_cast<size_t>(bins));
  std::vector<uint64_t> counts(static_cast<size_t>(bins));
  for (const auto& lane : lanes_) {
    device_.download(counts.data(), lane->counts.as<void>(), bytes, lane->stream);
    device_.synchronize(lane->stream);
    for (size_t bin = 0; bin < sums.size(); ++bin) sums[bin] += static_cast<int64_t>(counts[bin]);
  }
  return sums;
}

MagnitudeCut CudaMagnitudes::cut(int64_t cut_count) {
  return magnitude_cut(tensors_, cut_count, [this](int64_t within) {
    return histogram(static_cast<int32_t>(within), within < 0 ? kMagnitudeUpperBins : kMagnitudeLowerBins);
  });
}

// Elements at the threshold before each block.
std::vector<int64_t> CudaMagnitudes::ties_before(float threshold) {
  std::vector<int64_t> before(static_cast<size_t>(blocks_ + 1));
  for_each_piece(
      [&](Lane& lane, const Piece& piece, const float* x) {
        device_.kernels().magnitude_mask(
            {x, piece.count, threshold, lane.mask.as<uint8_t>(), lane.ties.as<int32_t>(), nullptr, 0}, lane.stream);
        device_.download(lane.piece_ties.data(), lane.ties.as<void>(),
                         piece.blocks() * static_cast<int64_t>(sizeof(int32_t)), lane.stream);
      },
      [&](Lane& lane, const Piece& piece) {
        for (int64_t b = 0; b < piece.blocks(); ++b)
          before[static_cast<size_t>(piece.first_block + b + 1)] = lane.piece_ties[static_cast<size_t>(b)];
      });
  for (size_t b = 1; b < before.size(); ++b) before[b] += before[b - 1];
  return before;
}

void CudaMagnitudes::masks(const MagnitudeCut& cut, const std::vector<uint8_t*>& masks) {
  std::vector<int64_t> before;
  if (cut.kept_ties > 0) before = ties_before(cut.threshold);
  for_each_piece(
      [&](Lane& lane, const Piece& piece, const float* x) {
        int64_t* ranks = nullptr;
        if (!before.empty()) {
          ranks = lane.ties_before.as<int64_t>();
          device_.upload(ranks, before.data() + piece.first_block,
                         piece.blocks() * static_cast<int64_t>(sizeof(int64_t)), lane.stream);
        }
        device_.kernels().magnitude_mask(
            {x, piece.count, cut.threshold, lane.mask.as<uint8_t>(), lane.ties.as<int32_t>(), ranks, cut.ties},
            lane.stream);
        device_.download(masks[piece.tensor] + piece.begin, lane.mask.as<void>(), piece.count, lane.stream);
      },
      [](Lane&, const Piece&) {});
}

namespace {

// Rows on their way through the GPU.
struct RowsLane {
  GpuBuffer w, q, scales, errors, weights;
  GpuStream stream;

  RowsLane(GpuDevice& device, int64_t rows, int64_t cols)
      : w(device, rows * cols * static_cast<int64_t>(sizeof(float))),
        q(device, rows * cols),
        scales(device, rows * static_cast<int64_t>(sizeof(float))),
        errors(device, rows * static_cast<int64_t>(sizeof(double))),
        weights(device, rows * static_cast<int64_t>(sizeof(double))),
        stream(device) {}
};

}  // namespace

QuantizedWeight quantize_weight_on_gpu(GpuDevice& device, const std::string& name, const float* w, int64_t rows,
                                       int64_t cols, int8_t* q, float* scales, const std::function<void()>& check) {
  std::vector<double> errors(static_cast<size_t>(rows)), weights(static_cast<size_t>(rows));
  if (rows > 0 && cols > 0) {
    int64_t most = std::clamp<int64_t>(kGpuPiece / cols, 1, rows);
    std::vector<std::unique_ptr<RowsLane>> lanes;
    for (;; most /= 2) {
      try {
        for (int i = 0; i < 2; ++i) lanes.push_back(std::make_unique<RowsLane>(device, most, cols));
        break;
      } catch (const GpuOutOfMemory&) {
        lanes.clear();
        if (most == 1) throw;
      }
    }
    int64_t turn = 0;
    for (int64_t first = 0; first < rows; first += most) {
      check();
      RowsLane& lane = *lanes[static_cast<size_t>(turn++ % 2)];
      device.synchronize(lane.stream);
      const int64_t count = std::min(most, rows - first);
      const auto copy_back = [&](auto* to, const GpuBuffer& from, int64_t a_row) {
        device.download(to + first * a_row, from.as<void>(), count * a_row * static_cast<int64_t>(sizeof *to),
                        lane.stream);
      };
      device.upload(lane.w.as<void>(), w + first * cols, count * cols * static_cast<int64_t>(sizeof(float)),
                    lane.stream);
      device.kernels().quantize_weight_rows({lane.w.as<float>(), count, cols, lane.q.as<int8_t>(),
                                             lane.scales.as<float>(), lane.errors.as<double>(),
                                             lane.weights.as<double>()},
                                            lane.stream);
      copy_back(q, lane.q, cols);
      copy_back(scales, lane.scales, 1);
      copy_back(errors.data(), lane.errors, 1);
      copy_back(weights.data(), lane.weights, 1);
    }
    for (const auto& lane : lanes) device.synchronize(lane->stream);
  } else {
    std::fill(scales, scales + rows, 1.0f);
  }
  return relative_error_of(name, errors, weights);
}

}  // namespace whittle
