/// The state of a run besides the model and the optimizer: `trainer_state.json`.
///
/// It contains no times: runs that took the same steps write the same bytes.
public struct TrainerState: Codable, Hashable, Sendable {
  /// Steps done.
  public var step = 0
  /// Position of the next batch.
  public var position = DataPosition()
  /// The text that ``position`` refers to.
  public let data: DataIdentity
  /// The steps since the last line of metrics.
  public var group = StepGroup()
  public var curve = LossCurve()

  public init(data: DataIdentity) { self.data = data }

  /// Identifies a text and how it is divided into batches; a run can only be resumed with the same.
  public struct DataIdentity: Codable, Hashable, Sendable {
    /// ``Corpus/fingerprint``.
    public let text: String
    public let batchSize: Int
    public let length: Int
    public let seed: Int

    enum CodingKeys: String, CodingKey {
      case text
      case batchSize = "batch_size"
      case length, seed
    }
  }

  /// Sums over the steps that make up a line of metrics.
  public struct StepGroup: Codable, Hashable, Sendable {
    public private(set) var steps = 0
    private var lossSum = 0.0
    private var gradientNormSum = 0.0

    public init() {}

    enum CodingKeys: String, CodingKey {
      case steps
      case lossSum = "loss_sum"
      case gradientNormSum = "gradient_norm_sum"
    }

    /// The mean loss in nats per token.
    public var loss: Double { lossSum / Double(max(1, steps)) }
    public var gradientNorm: Double { gradientNormSum / Double(max(1, steps)) }

    mutating func add(loss: Double, gradientNorm: Double) {
      steps += 1
      lossSum += loss
      gradientNormSum += gradientNorm
    }
  }

  /// Losses are computed in float32, and a token may be much longer or shorter than a byte.
  private static let mostBitsPerByte = 1e6 * Double(Float.greatestFiniteMagnitude)

  /// What is invalid in this state: the key, what it was and what it must be; nil if it is valid, as every
  /// state written by a run is.
  var objection: String? {
    var check = ValueChecks(section: "")
    func counts(_ value: Int, _ key: String, upTo most: Int, from least: Int = 0) {
      check.that(
        (least...max(least, most)).contains(value), key, was: "\(value)",
        mustBe: "from \(least) to \(most)")
    }
    counts(step, "step", upTo: TrainingSettings.mostSteps, from: 1)
    counts(position.epoch, "position.epoch", upTo: TrainingSettings.mostSteps)
    counts(position.window, "position.window", upTo: TrainingSettings.mostSteps)
    counts(group.steps, "group.steps", upTo: step)
    check.that(
      group.loss.isFinite && group.gradientNorm.isFinite, "group",
      was: "a loss of \(group.loss) and a gradient norm of \(group.gradientNorm)",
      mustBe: "finite numbers")
    for (name, points) in [("training", curve.training), ("validation", curve.validation)] {
      var last = 0
      for (index, point) in points.enumerated() {
        let key = "curve.\(name).\(index)"
        counts(point.step, key + ".step", upTo: step, from: last + 1)
        check.that(
          point.bitsPerByte.magnitude <= Self.mostBitsPerByte,
          key + ".bits_per_byte", was: "\(point.bitsPerByte)", mustBe: "a loss in float32")
        last = max(last, min(point.step, step))
      }
    }
    do { try check.finish() } catch { return "\(error)" }
    return nil
  }
}
