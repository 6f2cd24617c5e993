/* Messages to and from the portal's window around our frame.
 *
 * The portal names our frame "host|1 for https|session". We send "command:json:key:session" and are answered
 * "key:json". Every layout command is best effort: some portals and sliders never answer, so nobody awaits one.
 */

const [host, secure, session] = window.name.split('|')
const origin = session ? new URL(`${secure === '1' ? 'https' : 'http'}://${host}`).origin : ''
const waiting = new Map()
let sent = 0

export const inPortal = Boolean(origin) && window.parent !== window

/** Send a command; the promise is kept when the portal answers, and broken after `timeout` milliseconds if given. */
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
    return undefined // an empty answer, or none that we understand
  }
}

export const refreshAuth = () => send('refreshAuth', undefined, 10000)
export const openPath = (path) => send('openPath', { path })
export const grow = (height) => inPortal && send('resizeWindow', { width: '100%', height })
export const reloadWindow = () => inPortal && send('reloadWindow')
export const installFinish = () => inPortal && send('setInstallFinish')
