import { expect, it } from 'vitest'
import type { LiveHierarchy } from '../../../../ca/hierarchy.js'
import { openInForce } from '../../../../ca/rotation/rotator.js'
import type { CaStore } from '../../../../ca/store/model.js'
import type { CaWorld } from '../../../../ca/world.js'

it('a committed step that could not be put in force is tried again, and the members are told anew', async () => {
  const told: number[] = []
  let failures = 2
  let epoch = 7
  const at = () => ({ generation: 'g', epoch })
  const inForce = openInForce({
    world: {
      advance: async (change: () => Promise<{ value: boolean; move?: { position: { epoch: number } } }>) => {
        const { value, move } = await change()
        if (move !== undefined) told.push(move.position.epoch)
        return value
      },
    } as unknown as CaWorld,
    hierarchy: {
      reload: () => {
        failures -= 1
        return failures >= 0 ? Promise.reject(new Error('the disk is full')) : Promise.resolve()
      },
    } as LiveHierarchy,
    store: {
      announceAgain: () => {
        epoch += 1
        return Promise.resolve(at())
      },
    } as CaStore,
    followAtDoor: () => Promise.resolve(),
  })
  const nothing = () => Promise.resolve(undefined)
  expect(await inForce(nothing)).toBe(false)
  await expect(inForce(() => Promise.resolve(at()))).rejects.toThrow('disk')
  await expect(inForce(nothing)).rejects.toThrow('disk')
  expect(told).toEqual([])
  expect(await inForce(nothing)).toBe(false)
  expect(told).toEqual([8])
  // once
  expect(await inForce(nothing)).toBe(false)
  expect(await inForce(() => Promise.resolve(at()))).toBe(true)
  expect(told).toEqual([8, 8])
})
