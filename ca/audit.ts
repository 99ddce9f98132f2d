// Writes the CA's audit: every action with who, what, when and outcome. What is done is recorded in its own transaction; what is refused,
// before the answer leaves. Nobody who proved nothing gets a row of his own (refusals.ts).

import type { Clock } from '../host/clock.js'
import { errorFields, type Log } from '../host/log.js'
import type { Action } from '../mesh/audit-record.js'
import { asMeshError, MeshError, type MeshErrorCode } from '../mesh/errors.js'
import type { Actor } from './actor.js'
import { openBudget, openRefusals, type TurnedAway } from './refusals.js'
import { actionOf } from './store/audit.js'
import type { CaStore } from './store/model.js'

/** What somebody is about to do. */
export interface Attempt<T> {
  /** E.g. `agent.add`. */
  readonly what: string
  /** What it is done to: a SPIFFE ID, a serial, ... */
  readonly object: string
  /** What more there is to say when it was done. */
  readonly detail: (done: T) => string | null
}

export interface CaAudit {
  /**
   * Does one thing and records it in the same transaction, or records why not and rejects.
   * @param act calls one method of the store that it is given
   */
  run<T>(actor: Actor, attempt: Attempt<T>, act: (store: CaStore) => Promise<T>): Promise<T>
  /** Like `run` for what must not be kept from the mesh by an audit that cannot be written. */
  runAnyway<T>(actor: Actor, attempt: Attempt<T>, act: (store: CaStore) => Promise<T>): Promise<T>
  /** Runs what leads to an action, and records it as refused when it rejects and nobody has recorded that yet. */
  guard<T>(actor: Actor, attempt: Pick<Attempt<T>, 'what' | 'object'>, work: () => Promise<T>): Promise<T>
  /** Records what was done elsewhere. */
  act(actor: Actor, what: string, object: string): Promise<void>
  /** Records what was refused. */
  refused(actor: Actor, what: string, object: string, code: MeshErrorCode): Promise<void>
  /**
   * Records the refusal of a token that was minted here once, so many a minute: whoever holds one must not fill the disk with it. Beyond that
   * the door counts it like a stranger's.
   */
  tokenRefused(actor: Actor, object: string, error: unknown): Promise<void>
  /** Counts somebody who was turned away before it was an action; nothing when this error is recorded. */
  turnedAway(turned: Omit<TurnedAway, 'code'>, error: unknown): void
  /** Writes what was counted. */
  close(): Promise<void>
}

export interface AuditOptions {
  readonly store: CaStore
  readonly clock: Clock
  readonly log: Log
}

const TOKENS_A_MINUTE = { max: 60, windowMs: 60_000 }

export function openCaAudit({ store, clock, log }: AuditOptions): CaAudit {
  /** Errors that the audit knows of. */
  const recorded = new WeakSet<object>()
  const mayRecordToken = openBudget(clock, TOKENS_A_MINUTE)
  let pending: Promise<unknown> = Promise.resolve()
  const lost = (what: string, error: unknown): void =>
    log.error('ca.audit_failed', { what, ...errorFields(error) })
  const refusals = openRefusals(clock, (refusal) => {
    pending = pending
      .then(() => store.record(refusal))
      .catch((error: unknown) => lost(`refusal ${refusal.reason}`, error))
  })
  const entry = (
    actor: Actor,
    what: string,
    about: { object: string; detail: string | null; reason: string },
  ): Action => actionOf(actor, { at: clock.now(), operation: what, ...about })
  const write = (actor: Actor, what: string, object: string, reason: string): Promise<void> =>
    store.record(entry(actor, what, { object, detail: null, reason }))
  const failed = async (actor: Actor, what: string, object: string, error: unknown): Promise<void> => {
    if (typeof error !== 'object' || error === null || recorded.has(error)) return
    recorded.add(error)
    const { code, message } = asMeshError(error)
    const detail = code === 'INTERNAL' ? null : message
    await store
      .record(entry(actor, what, { object, detail, reason: code }))
      .catch((cause: unknown) => lost(what, cause))
  }
  const attempt = <T>(
    actor: Actor,
    { what, object, detail }: Attempt<T>,
    act: (store: CaStore) => Promise<T>,
  ): Promise<T> =>
    store.audited((done: T) => entry(actor, what, { object, detail: detail(done), reason: 'OK' }), act)
  const guard: CaAudit['guard'] = async (actor, { what, object }, work) => {
    try {
      return await work()
    } catch (error) {
      await failed(actor, what, object, error)
      throw error
    }
  }
  return {
    run: (actor, wanted, act) => guard(actor, wanted, () => attempt(actor, wanted, act)),
    runAnyway: (actor, wanted, act) =>
      guard(actor, wanted, async () => {
        try {
          return await attempt(actor, wanted, act)
        } catch (error) {
          if (error instanceof MeshError) throw error
          lost(wanted.what, error)
          return act(store)
        }
      }),
    guard,
    act: (actor, what, object) => write(actor, what, object, 'OK'),
    refused: write,
    tokenRefused: async (actor, object, error) => {
      if (mayRecordToken()) await failed(actor, 'enrol', object, error)
    },
    turnedAway(turned, error) {
      const { code } = asMeshError(error)
      // our own failures are no fault of the peer's, and stand in the log
      if (code === 'INTERNAL' || (typeof error === 'object' && error !== null && recorded.has(error))) return
      refusals.count({ ...turned, code })
    },
    async close() {
      refusals.close()
      await pending
    },
  }
}
