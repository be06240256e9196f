import AttentionCUDA
import AttentionTensors

/// The part of `attention devices` about GPUs and NVIDIA's libraries: what was found, and for what is missing, where
/// it was looked for and what to install.
enum GraphicsReport {
  static func lines() -> [String] {
    do {
      return try CUDADevice.all().flatMap(describe) + libraries()
    } catch {
      return ["cuda", "  none               \(error)"]
    }
  }

  private static func describe(_ device: CUDADevice) throws -> [String] {
    let limits = device.limits
    let (giga, tera, gibibyte, kibibyte) = (1e9, 1e12, Double(1 << 30), 1 << 10)
    let unused = Double(try device.memory().unused)
    return [
      "cuda:\(device.index)",
      "  processor          \(limits.name), compute capability \(limits.capability / 10)."
        + "\(limits.capability % 10)",
      "  multiprocessors    \(limits.multiprocessors) at "
        + "\(Quantity.digits(limits.clockHertz / giga)) GHz",
      "  nominal rates      \(Quantity.digits(limits.halfOperationsPerSecond / tera)) TFLOP/s "
        + "half precision, \(Quantity.digits(limits.memoryBytesPerSecond / giga)) GB/s; "
        + "estimates use these",
      "  memory             \(Quantity.digits(Double(limits.memoryBytes) / gibibyte)) GiB, "
        + "\(Quantity.digits(unused / gibibyte)) unused",
      "  shared memory      \(limits.sharedBytesPerBlock / kibibyte) KiB a block",
    ]
  }

  private static func libraries() -> [String] {
    func line(_ text: () throws -> String) -> String {
      do { return "  " + (try text()) } catch { return "  missing            \(error)" }
    }
    return [
      line {
        let driver = try Driver.shared()
        let (major, minor) = (driver.version / 1000, driver.version % 1000 / 10)
        return "driver             CUDA \(major).\(minor), \(driver.path)"
      },
      line {
        let compiler = try Compiler.shared()
        return "compiler           NVRTC \(compiler.version), \(compiler.path)"
      },
      line {
        let products = try ProductLibrary.shared()
        return "matrix products    cuBLASLt \(products.version), \(products.path)"
      },
      line {
        let collectives = try CollectiveLibrary.shared()
        return "several GPUs       NCCL \(collectives.version), \(collectives.path)"
      },
      line { "compiled kernels   \(try KernelCache.shared().folder)" },
    ]
  }
}
