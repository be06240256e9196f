import AttentionLayers
import AttentionTensors

/// A step of a layer, as its ``StepDescription`` says.
struct Step: Sendable {
  private let description: StepDescription
  private let norm: Norm?
  private let parts: [Part]
  private let postNorm: Norm?

  private enum Part: Sendable {
    case mixer(any TokenMixer)
    case feedForward(FeedForward)
    case experts(MixtureOfExperts)
  }

  /// - Parameters:
  ///   - description: what the step consists of.
  ///   - hidden: the hidden size.
  ///   - outputScale: the standard deviation of a part's output at the start of training.
  ///   - scope: the layer's.
  init(
    _ description: StepDescription, hidden: Int, outputScale: Double, scope: ParameterScope
  ) throws {
    self.description = description
    func norm(_ named: Named<NormOptions>?) throws -> Norm? {
      try named.map { try Norm($0.part, width: hidden, scope: scope[$0.name]) }
    }
    self.norm = try norm(description.norm)
    parts = try description.parts.map { part in
      let scope = scope[part.name]
      switch part.kind {
      case .mixer(let mixer):
        return .mixer(
          try mixer.makeMixer(hidden: hidden, outputScale: outputScale, scope: scope))
      case .feedForward(let options):
        return .feedForward(
          try FeedForward(width: hidden, options: options, outputScale: outputScale, scope: scope))
      case .experts(let options):
        return .experts(
          try MixtureOfExperts(
            width: hidden, options: options, outputScale: outputScale, scope: scope))
      }
    }
    postNorm = try norm(description.postNorm)
  }

  /// A cache for each part that needs one.
  func makeCaches() -> [(any MixerCache)?] {
    parts.map { part in
      if case .mixer(let mixer) = part { mixer.makeCache() } else { nil }
    }
  }

  /// Adds the step to a program that reads one token after those in `caches`.
  ///
  /// - Throws: `DecodingObjection` if the kernel does not have what it needs.
  func add(to program: inout DecodingBuilder, after caches: [(any MixerCache)?]) throws {
    guard let norm, parts.count == 1, postNorm == nil, !description.addsToNorm,
      let factors = description.parts.first, factors.inputScale == 1
    else {
      throw DecodingObjection(
        parts.count > 1 ? "a step has parts side by side" : "a norm is not before each part alone")
    }
    let step = try program.step(
      norm: norm, scale: description.scale * factors.outputScale,
      residualScale: description.residualScale)
    switch parts[0] {
    case .mixer(let mixer): try program.add(mixer, step, after: caches[0])
    case .feedForward(let layer): try program.add(layer, step)
    case .experts: throw DecodingObjection("it has experts")
    }
  }

  /// The caches of whole sequences.
  var noCaches: [(any MixerCache)?] { parts.map { _ in nil } }

  /// - Parameter caches: those of ``makeCaches()``, or ``noCaches`` for whole sequences.
  func callAsFunction(
    _ x: Tensor, context: TokenContext, caches: inout [(any MixerCache)?]
  ) throws -> Tensor {
    try apply(to: x) { mixer, input, part in
      try mixer(input, context: context, cache: &caches[part])
    }
  }

  /// One token of each of several sequences.
  ///
  /// - Parameter caches: those of ``makeCaches()`` of each sequence.
  func together(
    _ x: Tensor, _ sequences: SequenceBatch, caches: inout [[(any MixerCache)?]]
  ) throws -> Tensor {
    try apply(to: x) { mixer, input, part in
      var ofPart = caches.map { $0[part] }
      let output = try mixer.mixTogether(input, sequences, caches: &ofPart)
      for index in caches.indices { caches[index][part] = ofPart[index] }
      return output
    }
  }

  /// - Parameter mix: calls the mixer that is the part of this number.
  private func apply(
    to x: Tensor, mix: (any TokenMixer, Tensor, _ part: Int) throws -> Tensor
  ) throws -> Tensor {
    let normed = try norm?(x) ?? x
    var sum: Tensor?
    for (index, part) in parts.enumerated() {
      let factors = description.parts[index]
      let input = try normed.scaled(by: factors.inputScale)
      let output: Tensor
      switch part {
      case .mixer(let mixer):
        output = try mix(mixer, input, index)
      case .feedForward(let layer): output = try layer(input)
      case .experts(let layer): output = try layer(input)
      }
      let scaled = try output.scaled(by: factors.outputScale)
      sum = try sum.map { try $0 + scaled } ?? scaled
    }
    let residual = try (description.addsToNorm ? normed : x).scaled(by: description.residualScale)
    guard let sum else { return residual }
    return try residual + (postNorm?(sum) ?? sum).scaled(by: description.scale)
  }
}

extension Tensor {
  /// This times a factor, or this itself if that is 1.
  func scaled(by factor: Double) throws -> Tensor { factor == 1 ? self : try self * factor }
}
