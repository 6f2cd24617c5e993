/* What all modules share: the data of the page, finding elements, and telling the person something. */

export const page = document.body.dataset
export const find = (selector) => document.querySelector(selector)

const numbers = new Intl.NumberFormat(document.documentElement.lang)

/** A sentence with its "{n}" filled in. */
export const words = (sentence, number) => sentence.replace('{n}', numbers.format(number))

let announced = ''
let timer = null

/** Tell screen readers this sentence, after half a second without another one. */
export function announce(sentence) {
  if (sentence === announced) return
  announced = sentence
  clearTimeout(timer)
  timer = setTimeout(() => { find('#live').textContent = sentence }, 500)
}

/** Replace the app by a message: one of the templates at the end of the page. */
export function showInstead(template) {
  find('#dialog')?.close()
  find('#app, #install')?.replaceChildren(find(`#${template}`).content.cloneNode(true))
  find('[data-reopen]')?.focus()
}
