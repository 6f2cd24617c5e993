/* Messages to and from the portal's window around our frame.
 *
 * The portal names our frame "host|protocol|session"; the protocol is 1 for https. We send
 * "command:json:key:session", and the portal answers "key:json". Some portals and sliders never answer a layout
 * command, so callers must not wait for one.
 */

const [host, secure, session] = window.name.split('|')
const origin = session ? new URL(`${secure === '1' ? 'https' : 'http'}://${host}`).origin : ''
const waiting = new Map()
let sent = 0

export const inPortal = Boolean(origin) && window.parent !== window

/** Send a command. Resolves with the portal's answer; rejects after `timeout` milliseconds, if it is given. */
export function send(command, params, timeout) {
  if (!inPortal) return Promise.reject(new Error('not in a portal'))
  return new Promise((resolve, reject) => {
    const key = `defer${++sent}`
    waiting.set(key, resolve)
    if (timeout) setTimeout(() => waiting.delete(key) && reject(new Error(`${command}: no answer`)), timeout)
    const parts = params === undefined ? [command, key, session] : [command, JSON.stringify(params), key, session]
    window.parent.postMessage(parts.join(':'), origin)
  })
}

window.addEventListener('message', (event) => {
  if (event.origin !== origin || event.source !== window.parent || typeof event.data !== 'string') return
  const colon = event.data.indexOf(':')
  const key = event.data.slice(0, colon)
  const resolve = waiting.get(key)
  if (!resolve) return
  waiting.delete(key)
  resolve(parsed(event.data.slice(colon + 1)))
})

function parsed(json) {
  try {
    return JSON.parse(json)
  } catch {
    return undefined // the answer is empty or not JSON
  }
}

export const refreshAuth = () => send('refreshAuth', undefined, 10000)
export const openPath = (path) => send('openPath', { path })
export const grow = (height) => inPortal && send('resizeWindow', { width: '100%', height })
export const reloadWindow = () => inPortal && send('reloadWindow')
export const installFinish = () => inPortal && send('setInstallFinish')
