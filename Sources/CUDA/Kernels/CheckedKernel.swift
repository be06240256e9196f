/// A kernel with the macros of some use of it: what `Scripts/check-cuda` compiles without a GPU.
package struct CheckedKernel: Codable, Sendable {
  /// As `attention/forward.cu`.
  package var source: String
  /// What these macros are for.
  package var use: String
  package var definitions: [String]
  /// As `sm_90a`.
  package var architecture: String
  /// Whether a spilled register is an error.
  package var isHot: Bool

  package init(
    _ source: String, _ use: String = "", _ definitions: [String] = [], architecture: String,
    isHot: Bool = true
  ) {
    self.source = source
    self.use = use
    self.definitions = definitions
    self.architecture = architecture
    self.isHot = isHot
  }

  /// The same use on several architectures, as 90 for sm_90.
  package static func each(
    _ source: String, _ use: String = "", _ definitions: [String] = [], on architectures: [Int],
    isHot: Bool = true
  ) -> [CheckedKernel] {
    architectures.map {
      CheckedKernel(source, use, definitions, architecture: "sm_\($0)", isHot: isHot)
    }
  }

  /// The ladder's steps.
  package static let ladder =
    each("ladder/1_naive.cu", on: [80], isHot: false) + each("ladder/2_shared.cu", on: [80])
    + each("ladder/3_fragments.cu", on: [80]) + each("ladder/4_pipeline.cu", on: [80, 90])
    + ["5_warpgroup", "6_tma"].map {
      CheckedKernel("ladder/\($0).cu", architecture: "sm_90a")
    }
}
