import AttentionCUDAInterface
import TestSupport
import Testing

@testable import AttentionCUDA

@Suite struct LibrarySearchTests {
  private func search(_ variables: [String: String], _ folders: [String: [String]])
    -> LibrarySearch
  {
    LibrarySearch(environment: { variables[$0] }, contents: { folders[$0] ?? [] })
  }

  @Test func whatTheEnvironmentNamesComesFirst() {
    let search = search(
      ["CUDA_HOME": "/opt/cuda", "LD_LIBRARY_PATH": "/first:/second"],
      [
        "/opt/cuda/lib64": ["libnvrtc.so.12", "libcublas.so.12"], "/second": ["libnvrtc.so.13"],
        "/usr/local/cuda/lib64": ["libnvrtc.so.13"],
      ])
    #expect(
      search.files(for: .compiler) == [
        "/opt/cuda/lib64/libnvrtc.so.12", "/second/libnvrtc.so.13",
        "/usr/local/cuda/lib64/libnvrtc.so.13",
      ])
  }

  @Test func wheelsOfBothVersions() {
    let search = search(
      ["VIRTUAL_ENV": "/venv", "PATH": "/usr/bin:/conda/bin", "HOME": "/home/me"],
      [
        "/venv/lib": ["python3.12"],
        "/venv/lib/python3.12/site-packages/nvidia/cu13/lib": ["libnvrtc.so.13"],
        "/conda/lib": ["python3.9", "pkgconfig"],
        "/conda/lib/python3.9/site-packages/nvidia/cuda_nvrtc/lib": ["libnvrtc.so.12"],
        "/home/me/.local/lib": ["python3.10"],
        "/home/me/.local/lib/python3.10/site-packages/nvidia/cu13/lib": ["libnvrtc.so.13"],
      ])
    #expect(
      search.files(for: .compiler) == [
        "/venv/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
        "/conda/lib/python3.9/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
        "/home/me/.local/lib/python3.10/site-packages/nvidia/cu13/lib/libnvrtc.so.13",
      ])
    #expect(search.files(for: .driver) == [])
  }

  @Test func productsOfWheelsAndToolkits() {
    let search = search(
      ["VIRTUAL_ENV": "/venv", "CUDA_HOME": "/opt/cuda"],
      [
        "/opt/cuda/lib64": ["libcublasLt.so.12", "libcublas.so.12"],
        "/venv/lib": ["python3.12"],
        "/venv/lib/python3.12/site-packages/nvidia/cu13/lib": ["libcublasLt.so.13"],
        "/venv/lib/python3.12/site-packages/nvidia/cublas/lib": ["libcublasLt.so.12"],
      ])
    #expect(
      search.files(for: .products) == [
        "/opt/cuda/lib64/libcublasLt.so.12",
        "/venv/lib/python3.12/site-packages/nvidia/cu13/lib/libcublasLt.so.13",
        "/venv/lib/python3.12/site-packages/nvidia/cublas/lib/libcublasLt.so.12",
      ])
  }

  @Test func collectivesOfWheels() {
    let search = search(
      ["VIRTUAL_ENV": "/venv", "LD_LIBRARY_PATH": "/opt/nccl/lib"],
      [
        "/opt/nccl/lib": ["libnccl.so", "libnccl.so.2"], "/venv/lib": ["python3.12"],
        "/venv/lib/python3.12/site-packages/nvidia/nccl/lib": ["libnccl.so.2"],
      ])
    #expect(
      search.files(for: .collectives) == [
        "/opt/nccl/lib/libnccl.so.2",
        "/venv/lib/python3.12/site-packages/nvidia/nccl/lib/libnccl.so.2",
      ])
  }

  @Test func theCompilersCompanion() {
    let search = search(
      [:],
      [
        "/a": ["libnvrtc.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc-builtins.so.12.8"],
        "/b": ["libnvrtc.so.12"],
      ])
    #expect(
      search.companion(ofCompilerAt: "/a/libnvrtc.so.13") == "/a/libnvrtc-builtins.so.13.0")
    #expect(search.companion(ofCompilerAt: "/b/libnvrtc.so.12") == nil)
    #expect(search.companion(ofCompilerAt: "libnvrtc.so.12") == nil)
  }

  @Test func theFirstThatOpensIsTaken() throws {
    let search = search(
      ["CUDA_HOME": "/opt"], ["/opt/lib64": ["libnvrtc.so.13", "libnvrtc.so.12"]])
    var tried: [String] = []
    let path = try search.open(.compiler) { path in
      tried.append(path)
      return path.hasSuffix("12") ? nil : "\(path) is broken"
    }
    #expect(path == "/opt/lib64/libnvrtc.so.12")
    #expect(tried == ["/opt/lib64/libnvrtc.so.13", "/opt/lib64/libnvrtc.so.12"])
  }

  @Test(arguments: LibrarySearch.Library.allCases)
  func whatIsMissingSaysWhereItWasLookedFor(library: LibrarySearch.Library) throws {
    let search = search(["CUDA_HOME": "/opt"], [:])
    let error = #expect(throws: CUDAError.self) {
      try search.open(library) { "\($0): no such file" }
    }
    let message = try #require(error?.description)
    for words in library.names + ["/opt/lib64", "no such file", library.remedy] {
      #expect(message.contains(words), "\(message)")
    }
  }

  /// A file that is not a library gives a reason, not a crash.
  @Test func whatIsNoLibrary() throws {
    let folder = TemporaryFolder()
    try folder.write("libcuda.so.1", [1, 2, 3])
    let text = reason { text, capacity in
      var table = cuda_driver()
      return cuda_open_driver(folder.path("libcuda.so.1"), &table, text, capacity)
    }
    #expect(text?.contains("libcuda.so.1") == true)
  }
}
