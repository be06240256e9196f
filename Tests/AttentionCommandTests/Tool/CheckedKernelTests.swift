import AttentionCUDA
import Testing

@testable import AttentionCommand

@Suite struct CheckedKernelTests {
  @Test func everyKernelIsChecked() {
    let checked = Set(Kernels.checked.map(\.source))
    #expect(checked.isSubset(of: KernelSource.names))
    // Scripts/check-cuda has those of linear attention on Hopper.
    let missing = Set(KernelSource.names).subtracting(checked).filter { !$0.hasPrefix("linear/") }
    #expect(missing.isEmpty)
  }

  /// Each use is compiled for devices that would choose that kernel.
  @Test func hoppersInstructionsAreForHopper() {
    for kernel in Kernels.checked where kernel.source.hasPrefix("attention/hopper") {
      #expect(kernel.architecture == "sm_90a", "\(kernel.source) \(kernel.use)")
    }
  }
}
