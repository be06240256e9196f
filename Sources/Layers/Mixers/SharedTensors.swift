import AttentionTensors
import Synchronization

/// Tensors that layers leave for later layers of the same call, each under a name: ``RWKV7`` mixes the values of
/// the first layer into those of all others.
///
/// Every ``TokenContext`` has its own, and a model makes one context for each call.
public final class SharedTensors: Sendable {
  private let tensors = Mutex<[String: Tensor]>([:])

  init() {}

  public subscript(name: String) -> Tensor? {
    get { tensors.withLock { $0[name] } }
    set { tensors.withLock { $0[name] = newValue } }
  }
}
