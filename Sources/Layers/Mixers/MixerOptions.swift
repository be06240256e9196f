import AttentionTensors

/// A mixer that is made from options.
public protocol ConfiguredMixer: TokenMixer {
  associatedtype Options: MixerOptions

  /// - Parameters:
  ///   - hidden: the hidden size.
  ///   - options: valid ones for that size.
  ///   - outputScale: the standard deviation of an output for head outputs of variance 1.
  ///   - scope: where the parameters come from.
  /// - Throws: ``LayerError``.
  init(hidden: Int, options: Options, outputScale: Double, scope: ParameterScope) throws
}

extension ConfiguredMixer {
  public init(hidden: Int, options: Options = Options(), scope: ParameterScope) throws {
    try self.init(hidden: hidden, options: options, outputScale: 1, scope: scope)
  }
}

/// The options of a mixer, such as its heads and their dimensions.
public protocol MixerOptions: Hashable, Sendable {
  /// The options of a layer for which none is given.
  init()

  /// Throws ``LayerError/invalidArgument(_:was:mustBe:)`` naming the option that does not fit a layer of hidden
  /// size `hidden`.
  func validate(hidden: Int) throws
}

/// The short convolutions before a recurrence.
public struct ConvolutionOptions: Hashable, Sendable {
  /// How many tokens an output depends on, from 2 to 4; nil for no convolution.
  public var width: Int?
  public var hasBias: Bool

  public init(width: Int? = 4, hasBias: Bool = false) {
    self.width = width
    self.hasBias = hasBias
  }

  /// Throws ``LayerError/invalidArgument(_:was:mustBe:)`` if the operator does not have this width.
  func validate() throws {
    guard let width else { return }
    try LayerError.require("convolutionWidth", width, in: ShortConvolution.widths)
  }

  /// The convolution of `channels` with parameters from `scope`; nil without a width.
  func layer(channels: Int, appliesSiLU: Bool, scope: ParameterScope) throws -> ShortConvolution? {
    try width.map {
      try ShortConvolution(
        channels: channels, width: $0, hasBias: hasBias, appliesSiLU: appliesSiLU, scope: scope)
    }
  }
}

extension LayerError {
  /// Throws ``invalidArgument(_:was:mustBe:)`` unless `value` is in `range`.
  static func require(_ name: String, _ value: Int, in range: ClosedRange<Int>) throws {
    guard range.contains(value) else {
      throw invalidArgument(
        name, was: "\(value)", mustBe: "from \(range.lowerBound) to \(range.upperBound)")
    }
  }

  /// Throws ``invalidArgument(_:was:mustBe:)`` unless `value` is `least` or a larger finite number.
  static func require(_ name: String, _ value: Double, atLeast least: Double) throws {
    guard value >= least, value.isFinite else {
      throw invalidArgument(name, was: "\(value)", mustBe: "a number of at least \(least)")
    }
  }

  /// Throws ``invalidArgument(_:was:mustBe:)`` unless `value` is an extent that `divisor` divides.
  static func require(_ name: String, _ value: Int, isMultipleOf divisor: Int, _ what: String)
    throws
  {
    try require(name, isExtent: value)
    guard value % divisor == 0 else {
      throw invalidArgument(name, was: "\(value)", mustBe: "a multiple of \(what), \(divisor)")
    }
  }

  /// Throws ``invalidArgument(_:was:mustBe:)`` unless the product of two extents is one.
  static func require(_ name: String, isExtent value: Int, times count: Int) throws {
    try require(name, isExtent: value)
    let (product, overflows) = value.multipliedReportingOverflow(by: count)
    try require("\(name) times \(count)", isExtent: overflows ? .max : product)
  }

  /// `ratio` times `hidden` if that is a multiple of `heads`, else throws ``invalidArgument(_:was:mustBe:)``.
  static func width(_ name: String, _ ratio: Double, of hidden: Int, heads: Int) throws -> Int {
    try require(name, isPositive: ratio)
    guard let width = Int(exactly: ratio * Double(hidden)), width % heads == 0 else {
      throw invalidArgument(
        name, was: "\(ratio)",
        mustBe: "such that times the hidden size, \(hidden), it is a multiple of heads, \(heads)")
    }
    try require(name + " times the hidden size", isExtent: width)
    return width
  }
}
