/* Each small pixel is the mean of those that it stands for; libjpeg does the rest. */
#include "desktop/jpeg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#define QUALITY 60
#define QUALITY_LOW 30

struct trouble {
        struct jpeg_error_mgr manager;
        jmp_buf back;
};

static void on_error(j_common_ptr info)
{
        longjmp(((struct trouble *)info->err)->back, 1);
}

static void on_message(j_common_ptr info _unused_)
{
}

/* The mean of the pixels in [x0, x1) x [y0, y1), which holds at least one, as red, green, blue. */
static void mean(const uint8_t *pixels, unsigned width, const unsigned x[2], const unsigned y[2], uint8_t out[3])
{
        uint32_t red = 0, green = 0, blue = 0, n = 0;
        for (unsigned row = y[0]; row < y[1]; row++) {
                const uint8_t *from = pixels + ((size_t)row * width + x[0]) * 4;
                for (unsigned column = x[0]; column < x[1]; column++, from += 4, n++) {
                        red += from[2];
                        green += from[1];
                        blue += from[0];
                }
        }
        n = MAX(n, 1u);
        out[0] = (uint8_t)(red / n);
        out[1] = (uint8_t)(green / n);
        out[2] = (uint8_t)(blue / n);
}

/* Where part `i` of `n` begins in a whole of `size`. */
static unsigned part(unsigned i, unsigned n, unsigned size)
{
        return (unsigned)((uint64_t)i * size / n);
}

static uint8_t *shrink(const uint8_t *pixels, unsigned width, unsigned height, unsigned w, unsigned h)
{
        uint8_t *small = xcalloc((size_t)w * h, 3), *at = small;
        for (unsigned y = 0; y < h; y++)
                for (unsigned x = 0; x < w; x++, at += 3)
                        mean(pixels, width, (const unsigned[]){part(x, w, width), part(x + 1, w, width)},
                             (const unsigned[]){part(y, h, height), part(y + 1, h, height)}, at);
        return small;
}

static int compress(const uint8_t *rgb, unsigned w, unsigned h, int quality, struct buf *out)
{
        struct jpeg_compress_struct info;
        struct trouble trouble;
        unsigned char *volatile memory = NULL;
        unsigned long len = 0;
        info.err = jpeg_std_error(&trouble.manager);
        trouble.manager.error_exit = on_error;
        trouble.manager.output_message = on_message;
        if (setjmp(trouble.back)) {
                jpeg_destroy_compress(&info);
                free(memory);
                return -EIO;
        }
        jpeg_create_compress(&info);
        jpeg_mem_dest(&info, (unsigned char **)&memory, &len);
        info.image_width = w;
        info.image_height = h;
        info.input_components = 3;
        info.in_color_space = JCS_RGB;
        jpeg_set_defaults(&info);
        jpeg_set_quality(&info, quality, TRUE);
        jpeg_start_compress(&info, TRUE);
        while (info.next_scanline < h) {
                JSAMPROW row = (JSAMPROW)(rgb + (size_t)info.next_scanline * w * 3);
                jpeg_write_scanlines(&info, &row, 1);
        }
        jpeg_finish_compress(&info);
        jpeg_destroy_compress(&info);
        buf_add(out, memory, len);
        free(memory);
        return 0;
}

int jpeg_thumbnail(const uint8_t *pixels, unsigned width, unsigned height, unsigned to_width, struct buf *out)
{
        unsigned w = MIN(to_width, width), h = MAX((unsigned)((uint64_t)height * w / width), 1u);
        _cleanup_free_ uint8_t *small = shrink(pixels, width, height, w, h);
        int r = compress(small, w, h, QUALITY, out);
        if (r == 0 && out->len > 30000) {
                buf_truncate(out, 0);
                r = compress(small, w, h, QUALITY_LOW, out);
        }
        return r;
}
