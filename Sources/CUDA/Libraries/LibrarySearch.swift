/// The paths where NVIDIA's libraries may be, in the order in which they are tried.
///
/// A pure function of the environment and of folders' contents, so it can be tested without them.
public struct LibrarySearch {
  /// A library that is opened at run time.
  public enum Library: String, CaseIterable, Sendable {
    case driver, compiler, products, collectives

    /// File names, newest first. A name without a folder is left to the dynamic linker.
    var names: [String] {
      switch self {
      case .driver: ["libcuda.so.1"]
      case .compiler: ["libnvrtc.so.13", "libnvrtc.so.12"]
      case .products: ["libcublasLt.so.13", "libcublasLt.so.12"]
      case .collectives: ["libnccl.so.2"]
      }
    }

    /// Folders of NVIDIA's Python wheels, below `site-packages/nvidia`.
    var wheelFolders: [String] {
      switch self {
      case .driver: []
      case .compiler: ["cu13/lib", "cuda_nvrtc/lib"]
      case .products: ["cu13/lib", "cublas/lib"]
      case .collectives: ["nccl/lib"]
      }
    }

    /// What to install if the library is missing.
    var remedy: String {
      switch self {
      case .driver: "install NVIDIA's driver, version 525 or later"
      case .compiler:
        "install CUDA 12 or 13 and set CUDA_HOME, or: pip install nvidia-cuda-nvrtc"
      case .products:
        "install CUDA 12 or 13 and set CUDA_HOME, or: pip install nvidia-cublas"
      case .collectives:
        "only several GPUs together need it: install NCCL 2, or: pip install nvidia-nccl-cu13 "
          + "(nvidia-nccl-cu12 with a driver for CUDA 12)"
      }
    }
  }

  /// Returns the value of an environment variable.
  let environment: (String) -> String?
  /// Returns the names in a folder; empty if it cannot be read.
  let contents: (String) -> [String]

  /// The folders to search for this library, before the dynamic linker's own.
  func folders(for library: Library) -> [String] {
    var folders: [String] = []
    for variable in ["CUDA_HOME", "CUDA_PATH"] {
      guard let home = environment(variable), !home.isEmpty else { continue }
      folders += ["\(home)/lib64", "\(home)/lib", "\(home)/targets/x86_64-linux/lib"]
    }
    folders += (environment("LD_LIBRARY_PATH") ?? "").split(separator: ":").map(String.init)
    if library == .driver {
      folders += ["/usr/local/nvidia/lib64", "/usr/lib/wsl/lib", "/run/opengl-driver/lib"]
    } else {
      folders += ["/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"]
    }
    folders += [
      "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
    ]
    for packages in sitePackages {
      folders += library.wheelFolders.map { "\(packages)/nvidia/\($0)" }
    }
    return folders
  }

  /// The files that exist, in search order.
  func files(for library: Library) -> [String] {
    folders(for: library).flatMap { folder -> [String] in
      let present = Set(contents(folder))
      return library.names.filter(present.contains).map { "\(folder)/\($0)" }
    }
  }

  /// The library with the built-in functions of the compiler at `path`, in the same folder, such as
  /// `libnvrtc-builtins.so.13.0`; nil if there is none.
  func companion(ofCompilerAt path: String) -> String? {
    guard let slash = path.lastIndex(of: "/"), let dot = path.lastIndex(of: ".") else { return nil }
    let folder = String(path[..<slash])
    let prefix = "libnvrtc-builtins.so.\(path[path.index(after: dot)...])."
    let found = contents(folder).filter { $0.hasPrefix(prefix) }.min { $0.count < $1.count }
    return found.map { "\(folder)/\($0)" }
  }

  /// Python's package folders: of the virtual environment, the user and the system.
  private var sitePackages: [String] {
    var roots: [String] = []
    if let environment = environment("VIRTUAL_ENV"), !environment.isEmpty {
      roots.append("\(environment)/lib")
    }
    let programs = (environment("PATH") ?? "").split(separator: ":").filter {
      $0.hasSuffix("/bin")
    }
    roots += programs.map { "\($0.dropLast("/bin".count))/lib" }
    if let home = environment("HOME"), !home.isEmpty { roots.append("\(home)/.local/lib") }
    roots += ["/usr/local/lib", "/usr/lib"]
    var seen: Set<String> = []
    return roots.filter { seen.insert($0).inserted }.flatMap { root in
      contents(root).filter { $0.hasPrefix("python3") }.sorted(by: >).flatMap {
        ["\(root)/\($0)/site-packages", "\(root)/\($0)/dist-packages"]
      }
    }
  }
}
