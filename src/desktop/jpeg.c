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

static uint8_t *shrink(const uint8_t *pixels, unsigned width, unsigned height, unsigned w, unsigned h)
{
        uint8_t *small = xcalloc((size_t)w * h, 3), *at = small;
        for (unsigned y = 0; y < h; y++) {
                unsigned y0 = (unsigned)((uint64_t)y * height / h), y1 = (unsigned)(((uint64_t)y + 1) * height / h);
                for (unsigned x = 0; x < w; x++) {
                        unsigned x0 = (unsigned)((uint64_t)x * width / w);
                        unsigned x1 = (unsigned)(((uint64_t)x + 1) * width / w);
                        uint32_t sum[3] = {0}, n = (y1 - y0) * (x1 - x0);
                        for (unsigned row = y0; row < y1; row++) {
                                const uint8_t *from = pixels + ((size_t)row * width + x0) * 4;
                                for (unsigned column = x0; column < x1; column++, from += 4) {
                                        sum[0] += from[2];
                                        sum[1] += from[1];
                                        sum[2] += from[0];
                                }
                        }
                        for (unsigned i = 0; i < 3; i++)
                                *at++ = (uint8_t)(n ? sum[i] / n : 0);
                }
        }
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
