#include "engine/model_registry.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <sstream>

#include "cpu/error.h"
#include "engine/gpu_backend.h"

namespace whittle {

namespace {

template <typename Model>
struct Entry {
  std::mutex packing;
  std::weak_ptr<Model> model;
};

template <typename Model>
struct Registry {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Entry<Model>>> entries;
};

// Never destroyed: models may be released while the process exits.
template <typename Model>
Registry<Model>& registry() {
  static auto* const instance = new Registry<Model>;
  return *instance;
}

// The model of this key that somebody holds, or what `make` makes.
template <typename Model, typename Make>
std::shared_ptr<Model> shared(const std::string& key, const Make& make) {
  std::shared_ptr<Entry<Model>> entry;
  {
    const std::lock_guard lock(registry<Model>().mutex);
    auto& entries = registry<Model>().entries;
    for (auto it = entries.begin(); it != entries.end();)
      it = it->second.use_count() == 1 && it->second->model.expired() ? entries.erase(it) : std::next(it);
    std::shared_ptr<Entry<Model>>& slot = entries[key];
    if (!slot) slot = std::make_shared<Entry<Model>>();
    entry = slot;
  }
  const std::lock_guard lock(entry->packing);
  std::shared_ptr<Model> model = entry->model.lock();
  if (!model) {
    model = make();
    entry->model = model;
  }
  return model;
}

void describe(std::ostringstream& out, std::set<std::string>& files, const StoredTensor& tensor) {
  files.insert(tensor.file);
  out << tensor.file << ':' << tensor.offset << ':' << tensor.bytes << ':' << dtype_name(tensor.dtype) << ';';
}

std::string key_of(const ModelSpec& spec, const KernelTable& kernels) {
  std::ostringstream out;
  out << isa_name(kernels.isa) << ' ' << static_cast<int>(spec.precision) << ' ' << static_cast<int>(spec.task) << ' '
      << spec.labels << ' ' << spec.layers << ' ' << spec.hidden << ' ' << spec.heads << ' ' << spec.intermediate << ' '
      << static_cast<int>(spec.pooler_activation) << ' ' << spec.position_bias_rows << ' ' << spec.positions << ' '
      << spec.position_offset << ' ' << spec.token_types << ' ' << spec.norm_epsilon << '\n';
  std::set<std::string> files;
  for (const auto& [name, parameter] : spec.parameters) {
    out << name << '=';
    describe(out, files, parameter.tensor);
    if (parameter.has_scale) describe(out, files, parameter.scale);
  }
  for (const std::string& file : files) {
    struct stat found;
    if (::stat(file.c_str(), &found) != 0) throw Error("IO", file + " could not be read: " + std::strerror(errno));
    out << '\n'
        << found.st_dev << ' ' << found.st_ino << ' ' << found.st_size << ' ' << found.st_mtim.tv_sec << ' '
        << found.st_mtim.tv_nsec;
  }
  return out.str();
}

}  // namespace

std::shared_ptr<const PackedModel> shared_model(const ModelSpec& spec, const KernelTable& kernels, int threads,
                                                const std::function<void()>& check) {
  return shared<const PackedModel>(key_of(spec, kernels),
                                   [&] { return std::make_shared<const PackedModel>(spec, kernels, threads, check); });
}

std::shared_ptr<CudaEngine> shared_cuda_engine(const ModelSpec& spec, const std::string& device,
                                               const KernelTable& kernels, int threads,
                                               const std::function<void()>& check) {
  std::vector<GpuDevice*> devices;
  std::string key;
  for (const int index : parse_gpus(device)) {
    devices.push_back(&gpu_device(index));
    key += std::to_string(index) + ' ';
  }
  return shared<CudaEngine>(key + key_of(spec, kernels),
                            [&] { return std::make_shared<CudaEngine>(devices, spec, kernels, threads, check); });
}

}  // namespace whittle
