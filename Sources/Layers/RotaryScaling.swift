import AttentionCLibrary

/// How the angles of a rotary embedding are changed for sequences longer than those of the first training.
public enum RotaryScaling: Hashable, Sendable, Codable {
  /// All angles are divided by `factor`.
  ///
  /// Reference: Chen et al., *Extending context window of large language models via positional
  /// interpolation* (2023).
  case linear(factor: Double)

  /// Angles of wavelengths longer than `length` / `lowFactor` are divided by `factor`, those of wavelengths
  /// shorter than `length` / `highFactor` stay, and between them the two are mixed. As in Llama 3.
  case llama3(factor: Double, lowFactor: Double, highFactor: Double, length: Double)

  /// Angles of pairs that turn less than `slowTurns` times over `length` tokens are divided by `factor`, those
  /// that turn more than `fastTurns` times stay, and between them the two are mixed. Rotated pairs are
  /// multiplied by `amplitude`, 0.1 log(factor) + 1 in the paper.
  ///
  /// Reference: Peng et al., *YaRN: Efficient context window extension of large language models* (2023).
  case yarn(
    factor: Double, length: Double, fastTurns: Double, slowTurns: Double, amplitude: Double,
    roundsBounds: Bool)

  /// Throws ``LayerError/invalidArgument(_:was:mustBe:)`` for the first invalid number.
  func validate() throws {
    switch self {
    case .linear(let factor):
      try LayerError.require("rotaryScaling.factor", isPositive: factor)
    case .llama3(let factor, let low, let high, let length):
      try LayerError.require("rotaryScaling.factor", isPositive: factor)
      try LayerError.require("rotaryScaling.lowFactor", isPositive: low)
      try LayerError.require("rotaryScaling.length", isPositive: length)
      guard high > low, high.isFinite else {
        throw LayerError.invalidArgument(
          "rotaryScaling.highFactor", was: "\(high)", mustBe: "above the low factor, \(low)")
      }
    case .yarn(let factor, let length, let fast, let slow, let amplitude, _):
      try LayerError.require("rotaryScaling.factor", isPositive: factor)
      try LayerError.require("rotaryScaling.length", isPositive: length)
      try LayerError.require("rotaryScaling.slowTurns", isPositive: slow)
      try LayerError.require("rotaryScaling.amplitude", isPositive: amplitude)
      guard fast > slow, fast.isFinite else {
        throw LayerError.invalidArgument(
          "rotaryScaling.fastTurns", was: "\(fast)", mustBe: "above the slow turns, \(slow)")
      }
    }
  }

  /// The factor of rotated pairs.
  var amplitude: Double {
    if case .yarn(_, _, _, _, let amplitude, _) = self { amplitude } else { 1 }
  }

  /// The angles of pairs from one position to the next, made of those without scaling.
  func scaled(_ frequencies: [Double], theta: Double) -> [Double] {
    switch self {
    case .linear(let factor):
      return frequencies.map { $0 / factor }
    case .llama3(let factor, let low, let high, let length):
      return frequencies.map { frequency in
        let turns = length * frequency / (2 * .pi)
        let kept = min(1, max(0, (turns - low) / (high - low)))
        return frequency * (kept + (1 - kept) / factor)
      }
    case .yarn(let factor, let length, let fast, let slow, _, let rounds):
      /// The pair, as a real number, that turns so many times over the length.
      func pair(turning turns: Double) -> Double {
        Double(frequencies.count) * log(length / (turns * 2 * .pi)) / log(theta)
      }
      var (first, last) = (pair(turning: fast), pair(turning: slow))
      if rounds { (first, last) = (first.rounded(.down), last.rounded(.up)) }
      first = max(first, 0)
      last = min(last, Double(2 * frequencies.count - 1))
      let width = last == first ? 0.001 : last - first
      return frequencies.enumerated().map { index, frequency in
        let divided = min(1, max(0, (Double(index) - first) / width))
        return frequency * (1 - divided + divided / factor)
      }
    }
  }
}
