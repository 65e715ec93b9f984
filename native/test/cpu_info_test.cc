#include "cpu/cpu_info.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "kernels/kernel_table.h"
#include "test/test.h"

using namespace whittle;

namespace {

// A tree of made-up /proc and /sys files, removed at the end.
class FakeRoot {
 public:
  FakeRoot() {
    char name[] = "/tmp/whittle-cgroup-XXXXXX";
    CHECK(mkdtemp(name) != nullptr);
    root_ = name;
  }
  ~FakeRoot() { std::filesystem::remove_all(root_); }
  void write(const std::string& file, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + file).parent_path());
    std::ofstream(root_ + "/" + file) << text;
  }
  void write_siblings(int cpu, const std::string& list, const std::string& name = "core_cpus_list") {
    write("cpu/cpu" + std::to_string(cpu) + "/topology/" + name, list + "\n");
  }
  int cores(const std::vector<int>& cpus) const { return physical_cores(cpus, root_ + "/cpu"); }
  double quota() const { return cgroup_cpu_quota(root_ + "/proc", root_ + "/cgroup"); }

 private:
  std::string root_;
};

}  // namespace

TEST(cpu_info, detection_is_consistent) {
  const CpuInfo& cpu = cpu_info();
  CHECK(cpu.supports(Isa::ref));
  CHECK(cpu.supports(cpu.best_isa()));
  CHECK(!cpu.avx512_vnni || cpu.avx512);
  CHECK(!cpu.avx512 || cpu.avx2);
  CHECK(cpu.threads >= 1 && cpu.threads <= cpu.affinity_cores);
  CHECK(cpu.affinity_cores <= cpu.affinity_cpus && cpu.affinity_cpus <= cpu.logical_cpus);
#if defined(__GNUC__)
  // The compiler's run-time library asks CPUID and XCR0 as well.
  CHECK_EQUAL(cpu.avx2, static_cast<bool>(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
  CHECK_EQUAL(cpu.avx512_vnni, static_cast<bool>(__builtin_cpu_supports("avx512vnni")));
  CHECK_EQUAL(cpu.avx512_bf16, static_cast<bool>(__builtin_cpu_supports("avx512bf16")));
#endif
}

TEST(cpu_info, isa_names_round_trip) {
  for (int i = 0; i < kIsaCount; ++i) {
    Isa isa;
    CHECK(parse_isa(isa_name(static_cast<Isa>(i)), &isa));
    CHECK(isa == static_cast<Isa>(i));
  }
  Isa isa;
  CHECK(!parse_isa("sse9", &isa));
  CHECK(!parse_isa("", &isa));
}

TEST(cpu_info, cgroup_v2_quota_of_the_tightest_parent) {
  FakeRoot root;
  CHECK_EQUAL(root.quota(), 0.0);
  root.write("proc/cgroup", "0::/pods/one\n");
  CHECK_EQUAL(root.quota(), 0.0);
  root.write("cgroup/pods/one/cpu.max", "max 100000\n");
  CHECK_EQUAL(root.quota(), 0.0);
  root.write("cgroup/pods/cpu.max", "250000 100000\n");
  CHECK_EQUAL(root.quota(), 2.5);
  root.write("cgroup/pods/one/cpu.max", "50000 100000\n");
  CHECK_EQUAL(root.quota(), 0.5);
}

TEST(cpu_info, cgroup_v2_inside_a_container) {
  FakeRoot root;  // the path of the host does not exist below the container's mount
  root.write("proc/cgroup", "0::/docker/abc\n");
  root.write("cgroup/cpu.max", "200000 100000\n");
  CHECK_EQUAL(root.quota(), 2.0);
}

TEST(cpu_info, hardware_threads_of_one_core_count_once) {
  FakeRoot root;  // four cores with two threads each, numbered as Linux does: the first threads of all cores first
  for (int cpu = 0; cpu < 8; ++cpu)
    root.write_siblings(cpu, std::to_string(cpu % 4) + "," + std::to_string(cpu % 4 + 4));
  CHECK_EQUAL(root.cores({0, 1, 2, 3, 4, 5, 6, 7}), 4);
  CHECK_EQUAL(root.cores({0, 4}), 1);
  CHECK_EQUAL(root.cores({0, 5}), 2);
  CHECK_EQUAL(root.cores({3}), 1);
  CHECK_EQUAL(root.cores({}), 0);
}

TEST(cpu_info, a_cpu_of_unknown_core_counts_as_one) {
  FakeRoot root;
  CHECK_EQUAL(root.cores({0, 1, 2}), 3);
  root.write_siblings(0, "0-1", "thread_siblings_list");  // kernels before 5.3
  root.write_siblings(1, "0-1", "thread_siblings_list");
  CHECK_EQUAL(root.cores({0, 1, 2}), 2);
}

TEST(cpu_info, cgroup_v1_quota) {
  FakeRoot root;
  root.write("proc/cgroup", "5:memory:/a\n4:cpu,cpuacct:/a\n0::/\n");
  root.write("cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
  root.write("cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
  CHECK_EQUAL(root.quota(), 0.0);
  root.write("cgroup/cpu/a/cpu.cfs_quota_us", "150000\n");
  CHECK_EQUAL(root.quota(), 1.5);
}
