import { describe, expect, it } from 'vitest'
import { makeHierarchy } from '../../../certs-dev/hierarchy.js'
import { firstWorld, keepingBundles, viewOf, worldOfView } from '../../../member/control/world-state.js'
import { parseTrustDomain } from '../../../mesh/spiffe-id.js'
import { parseTrustBundle } from '../../../mesh/trust-bundle.js'

describe('a whole view of the CA', () => {
  const trustDomain = parseTrustDomain('acme.internal')
  const ground = { trustDomain, dev: true }
  const bundle = async () =>
    parseTrustBundle(trustDomain, (await makeHierarchy({ trustDomain, dev: true })).rootPem)

  it('with the same roots leaves the bundles in place, so that no connection is made anew', async () => {
    const before = firstWorld(await bundle())
    const next = worldOfView(viewOf(before), null, ground)
    expect(next.world.bundles).not.toBe(before.world.bundles)
    expect(keepingBundles(next, before).world.bundles).toBe(before.world.bundles)
  })

  it('with another root replaces the bundles', async () => {
    const before = firstWorld(await bundle())
    const next = worldOfView(viewOf(firstWorld(await bundle())), null, ground)
    expect(keepingBundles(next, before)).toBe(next)
  })
})
