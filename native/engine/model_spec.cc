#include "engine/model_spec.h"

#include "cpu/error.h"
#include "kernels/byte_attention.h"

namespace whittle {

namespace {

std::string format(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace

void ModelSpec::expect_attention_fits() const {
  if (precision != Precision::int8 || longest() <= kMostByteKeys) return;
  throw Error("UNSUPPORTED", "Expected a model of at most " + std::to_string(kMostByteKeys) +
                                 " positions at precision int8 but this one has " + std::to_string(longest()) +
                                 "; use float32 or bfloat16");
}

const StoredParameter& ModelSpec::at(const std::string& name, const std::vector<int64_t>& shape) const {
  const auto found = parameters.find(name);
  if (found == parameters.end())
    throw Error("BAD_CHECKPOINT", "Expected parameter " + name + " " + format(shape) + " but it is missing");
  const StoredTensor& tensor = found->second.tensor;
  if (tensor.shape != shape)
    throw Error("BAD_CHECKPOINT", tensor.file + ": tensor " + tensor.name + ": expected shape " + format(shape) +
                                      " but found " + format(tensor.shape));
  return found->second;
}

}  // namespace whittle
