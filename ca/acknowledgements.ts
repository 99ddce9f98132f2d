// Who has applied a revocation. A wait is opened inside the order of changes, before the members are told, so that no answer
// can come too early to be counted.

import type { Clock, Timer } from '../host/clock.js'
import type { LiveInstance } from './store/model.js'

export interface Applied {
  readonly applied: number
  readonly expected: number
  /** Connections that members destroyed. */
  readonly cut: number
  readonly missing: readonly LiveInstance[]
  readonly elapsedMs: number
}

export interface Wait {
  /** Resolves when all have answered, or after `ms`. Once. */
  settle(ms: number): Promise<Applied>
}

export interface Acknowledgements {
  expect(epoch: number, instances: readonly LiveInstance[]): Wait
  /** The instance's world stands at `epoch`, and it destroyed `cut` connections to get there. */
  acknowledge(instanceId: string, epoch: number, cut: number): void
  /** Told of every acknowledgement. */
  onAcknowledge(listener: (instanceId: string, epoch: number) => void): void
}

interface Pending {
  readonly epoch: number
  readonly missing: Map<string, LiveInstance>
  cut: number
  finish: () => void
}

export function openAcknowledgements(clock: Clock): Acknowledgements {
  const waits = new Set<Pending>()
  const listeners: ((instanceId: string, epoch: number) => void)[] = []
  return {
    expect(epoch, instances) {
      const since = clock.monotonic()
      const missing = new Map(instances.map((instance) => [instance.instanceId, instance]))
      const pending: Pending = { epoch, missing, cut: 0, finish: () => undefined }
      waits.add(pending)
      const result = (): Applied => {
        waits.delete(pending)
        return {
          applied: instances.length - missing.size,
          expected: instances.length,
          cut: pending.cut,
          missing: [...missing.values()],
          elapsedMs: Math.round(clock.monotonic() - since),
        }
      }
      return {
        settle: (ms) =>
          new Promise((resolve) => {
            if (missing.size === 0 || ms <= 0) {
              resolve(result())
              return
            }
            const done = (): void => {
              timer.cancel()
              resolve(result())
            }
            const timer: Timer = clock.after(ms, done)
            pending.finish = done
          }),
      }
    },
    onAcknowledge: (listener) => void listeners.push(listener),
    acknowledge(instanceId, epoch, cut) {
      for (const listener of listeners) listener(instanceId, epoch)
      for (const pending of waits) {
        if (epoch < pending.epoch || !pending.missing.delete(instanceId)) continue
        pending.cut += cut
        if (pending.missing.size === 0) pending.finish()
      }
    },
  }
}
