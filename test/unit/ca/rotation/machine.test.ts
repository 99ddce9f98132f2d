import { describe, expect, it } from 'vitest'
import type { KeyStore } from '../../../../ca/keys/key-store.js'
import { type MachineOptions, openMachine } from '../../../../ca/rotation/machine.js'
import type { Authority } from '../../../../ca/rotation/model.js'
import type { CaStore } from '../../../../ca/store/model.js'

const authority = (label: Authority['label'], state: Authority['state'], revokedAt: number | null) => ({
  fingerprint: label,
  usage: label.startsWith('root') ? 'root' : 'issuing',
  state,
  label,
  revokedAt,
})

/** A CA whose root's key cannot be destroyed; `reached`: false when it is on a token that the serving CA has no PIN of. */
function closedRoot(rotation: object | undefined, reached = true) {
  const destroyed: string[] = []
  const forgotten: string[] = []
  const authorities = [
    authority('root', 'retired', null),
    authority('issuing', 'retired', null),
    authority('issuing-aa', 'previous', 1),
    authority('issuing-bb', 'current', null),
  ]
  const keys = {
    reaches: (label: string) => reached || label !== 'root',
    destroy: (label: string) => {
      if (label === 'root') return Promise.reject(new Error('the PIN was not given'))
      destroyed.push(label)
      return Promise.resolve()
    },
  }
  const store = {
    rotation: () => Promise.resolve(rotation),
    retireIssuers: () => Promise.resolve(undefined),
    promoteAuthorities: () => Promise.resolve({ generation: 'g', epoch: 2 }),
    awaitedToAcknowledge: () => Promise.resolve([]),
    authorities: () => Promise.resolve(authorities),
    forgetAuthority: (fingerprint: string) => Promise.resolve(void forgotten.push(fingerprint)),
  }
  const machine = openMachine({
    store,
    keys: keys as unknown as KeyStore,
    hierarchy: { authorities: [] },
    now: () => 5,
    inForce: async (step: () => Promise<unknown>) => (await step()) !== undefined,
  } as unknown as MachineOptions)
  return { machine, destroyed, forgotten, store: store as unknown as CaStore }
}

describe('a key that cannot be destroyed', () => {
  it('keeps no other from being destroyed, and is said', async () => {
    const { machine, destroyed, forgotten } = closedRoot(undefined)
    await expect(machine.advance()).rejects.toThrow('PIN')
    expect(destroyed).toEqual(['issuing', 'issuing-aa'])
    expect(forgotten).toEqual(['issuing'])
  })

  it('is left alone, and no error, where it is on a token that is closed to this process', async () => {
    const { machine, destroyed, forgotten } = closedRoot(undefined, false)
    await machine.advance()
    expect(destroyed).toEqual(['issuing', 'issuing-aa'])
    expect(forgotten).toEqual(['root', 'issuing'])
  })

  it('stops no step of a rotation', async () => {
    const { machine, store } = closedRoot({
      kind: 'issuing',
      phase: 'distribute',
      compromised: true,
      phaseAt: 1,
    })
    await expect(machine.force((_phase, act) => act(store))).resolves.toEqual([])
  })
})

it('a step that somebody asked for is taken in the transaction of its record, and in no other', async () => {
  const { machine, store } = closedRoot({
    kind: 'issuing',
    phase: 'distribute',
    compromised: false,
    phaseAt: 1,
  })
  const taken: string[] = []
  const recording = {
    promoteAuthorities: () => {
      taken.push('promote')
      return Promise.resolve({ generation: 'g', epoch: 2 })
    },
  } as unknown as CaStore
  Object.assign(store, { promoteAuthorities: () => Promise.reject(new Error('without its record')) })
  await machine.force(async (phase, act) => {
    const done = await act(recording)
    taken.push(phase(done))
    return done
  })
  expect(taken).toEqual(['promote', 'renew'])
})
